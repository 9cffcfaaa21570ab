// Command sallyport-cluster runs real Kubernetes clusters on any Linux machine, without Docker or virtual machines: each
// in namespaces of its own, of which nothing is left when it is removed.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"sallyport.dev/e2e/cluster/internal/cluster"
	"sallyport.dev/e2e/cluster/internal/images"
)

func main() {
	// iptables, nft and mount may be in folders that only root's PATH has.
	os.Setenv("PATH", os.Getenv("PATH")+":/usr/local/sbin:/usr/sbin:/sbin")
	ctx, cancel := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer cancel()
	if err := rootCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "sallyport-cluster",
		Short:         "Run real Kubernetes clusters on any Linux machine, without Docker",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(
		upCommand(), downCommand(), statusCommand(), kubeconfigCommand(), binCommand(), execCommand(),
		policyCommand(), hostCommand(), images.Command(),
	)
	root.AddCommand(internalCommands()...)
	return root
}

// nameFlag adds the flag by which every command is told its cluster.
func nameFlag(command *cobra.Command, name *string) {
	command.PersistentFlags().StringVar(name, "name", cluster.DefaultName, "the cluster's name; several can run side by side")
}
