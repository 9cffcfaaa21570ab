package images

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"sallyport.dev/e2e/cluster/internal/cluster"
	"sallyport.dev/e2e/cluster/internal/progress"
)

// Command gives the command `images` with its subcommands.
func Command() *cobra.Command {
	command := &cobra.Command{
		Use:   "images",
		Short: "Build container images without Docker, and push them",
		Long: "Builds the images that e2e/images defines, without Docker, and pushes them to a registry.\n" +
			"What is built is cached by the hash of its inputs. Prints the references by digest as a JSON object.",
		Args: cobra.NoArgs,
	}
	command.AddCommand(listCommand(), buildCommand(), loadCommand(), pushCommand())
	return command
}

func listCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the images that there are definitions of",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			builder, err := FromCheckout()
			if err != nil {
				return err
			}
			for _, name := range builder.Catalog().Names() {
				definition, err := builder.Catalog().Get(name)
				if err != nil {
					return err
				}
				fmt.Fprintf(command.OutOrStdout(), "%-15s %s\n", name, definition.Description)
			}
			return nil
		},
	}
}

func buildCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "build [IMAGE...]",
		Short: "Build images (all but the bases if none is named) into the cache, where load and push find them",
		RunE: func(command *cobra.Command, names []string) error {
			return buildEach(command.Context(), names, func(*Image) error { return nil })
		},
	}
}

func loadCommand() *cobra.Command {
	var clusterName string
	command := &cobra.Command{
		Use:   "load [IMAGE...]",
		Short: "Build images (all but the bases if none is named) and push them to a cluster's own registry",
		RunE: func(command *cobra.Command, names []string) error {
			address, err := cluster.RegistryAddr(clusterName)
			if err != nil {
				return err
			}
			registry := Registry{Address: address, PulledAs: cluster.RegistryHost, PlainHTTP: true}
			references, err := buildAndPush(command.Context(), registry, names)
			if err != nil {
				return err
			}
			if err := references.MergeInto(cluster.ImagesFile(clusterName)); err != nil {
				return err
			}
			return references.print(command)
		},
	}
	command.Flags().StringVar(&clusterName, "name", cluster.DefaultName, "the cluster")
	return command
}

func pushCommand() *cobra.Command {
	var registry Registry
	command := &cobra.Command{
		Use:   "push --registry REGISTRY [IMAGE...]",
		Short: "Build images (all but the bases if none is named) and push them to any registry",
		Long: "Builds images and pushes them to REGISTRY, such as registry.example/team or localhost:5000, with the\n" +
			"credentials that `docker login` leaves.",
		RunE: func(command *cobra.Command, names []string) error {
			references, err := buildAndPush(command.Context(), registry, names)
			if err != nil {
				return err
			}
			return references.print(command)
		},
	}
	command.Flags().StringVar(&registry.Address, "registry", "", "the registry, and a path in it if wanted")
	command.Flags().StringVar(&registry.PulledAs, "pulled-as", "", "how the cluster's nodes name the registry, if differently")
	command.Flags().BoolVar(&registry.PlainHTTP, "plain-http", false, "push without TLS")
	if err := command.MarkFlagRequired("registry"); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return command
}

// buildAndPush builds and pushes the named images, or all but the bases.
func buildAndPush(ctx context.Context, registry Registry, names []string) (References, error) {
	references := References{}
	err := buildEach(ctx, names, func(img *Image) error {
		return progress.Do("push "+img.Name+" to "+registry.Address, func() (err error) {
			references[img.Name], err = registry.Push(ctx, img)
			return err
		})
	})
	return references, err
}

// buildEach builds the named images, or all but the bases, and hands over each as soon as it is there.
func buildEach(ctx context.Context, names []string, each func(*Image) error) error {
	builder, err := FromCheckout()
	if err != nil {
		return err
	}
	if len(names) == 0 {
		names = builder.Catalog().Programs()
	}
	for _, name := range names {
		img, err := builder.Build(ctx, name)
		if err != nil {
			return err
		}
		if err := each(img); err != nil {
			return err
		}
	}
	return nil
}

// print writes the references as a JSON object.
func (r References) print(command *cobra.Command) error {
	out := json.NewEncoder(command.OutOrStdout())
	out.SetIndent("", "  ")
	return out.Encode(r)
}
