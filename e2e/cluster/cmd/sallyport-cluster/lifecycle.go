package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"sallyport.dev/e2e/cluster/internal/build"
	"sallyport.dev/e2e/cluster/internal/cluster"
	"sallyport.dev/e2e/cluster/internal/lifecycle"
)

func upCommand() *cobra.Command {
	var options lifecycle.Options
	var controlPlaneOnly, policyOff bool
	var policyLag time.Duration
	command := &cobra.Command{
		Use:   "up",
		Short: "Start a cluster, after building its programs if that was not done yet",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) (err error) {
			options.Kind = cluster.Node
			if controlPlaneOnly {
				options.Kind = cluster.ControlPlane
			}
			switch {
			case policyOff:
				options.Policy = cluster.PolicyOff
			case policyLag != 0:
				if options.Policy, err = cluster.PolicyLag(policyLag); err != nil {
					return err
				}
			}
			begun := time.Now()
			s, err := lifecycle.Up(command.Context(), options)
			if err != nil {
				return err
			}
			printWelcome(command.OutOrStdout(), s, time.Since(begun))
			return nil
		},
	}
	nameFlag(command, &options.Name)
	flags := command.Flags()
	flags.BoolVar(&controlPlaneOnly, "control-plane-only", false,
		"only etcd and the API server, on loopback ports: needs no root; uses the programs in $KUBEBUILDER_ASSETS if set")
	flags.StringVar(&options.Kubernetes, "kubernetes", "", "the version of Kubernetes (default: "+build.KubernetesVersions[0].Version+")")
	flags.DurationVar(&policyLag, "policy-lag", 0, "enforce NetworkPolicies that late, as some network plugins do")
	flags.BoolVar(&policyOff, "policy-off", false, "enforce no NetworkPolicies, as some network plugins do")
	command.MarkFlagsMutuallyExclusive("policy-lag", "policy-off")
	command.MarkFlagsMutuallyExclusive("control-plane-only", "policy-lag")
	command.MarkFlagsMutuallyExclusive("control-plane-only", "policy-off")
	return command
}

func printWelcome(out io.Writer, s cluster.Spec, took time.Duration) {
	suffix := ""
	if s.Name != cluster.DefaultName {
		suffix = " --name " + s.Name
	}
	what := "one node, Ready"
	if s.Kind == cluster.ControlPlane {
		what = "control plane only"
	}
	fmt.Fprintf(out, "\nCluster %q is up: Kubernetes %s, %s (%.0f s)\n\n", s.Name, s.Kubernetes, what, took.Seconds())
	fmt.Fprintf(out, "  look around:  export KUBECONFIG=%s\n", cluster.Kubeconfig(s.Name))
	fmt.Fprintf(out, "                alias kubectl=%s/kubectl\n", cluster.BinDir(s.Name))
	if s.Kind == cluster.Node {
		fmt.Fprintf(out, "  load images:  sallyport-cluster images load%s\n", suffix)
		fmt.Fprintf(out, "  run inside:   sallyport-cluster exec%s -- ip route\n", suffix)
	}
	fmt.Fprintf(out, "  remove it:    sallyport-cluster down%s\n", suffix)
}

func downCommand() *cobra.Command {
	var name string
	var all bool
	command := &cobra.Command{
		Use:   "down",
		Short: "Remove a cluster and everything that it made on this machine (built programs and images stay cached)",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if !all {
				return lifecycle.Down(name)
			}
			names, err := cluster.Names()
			for _, each := range names {
				err = errors.Join(err, lifecycle.Down(each))
			}
			return err
		},
	}
	nameFlag(command, &name)
	command.Flags().BoolVar(&all, "all", false, "remove every cluster of this user")
	command.MarkFlagsMutuallyExclusive("all", "name")
	return command
}

func statusCommand() *cobra.Command {
	var name, output string
	command := &cobra.Command{
		Use:   "status",
		Short: "Tell how a cluster and each of its components are",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			status, err := lifecycle.Describe(command.Context(), name)
			if err != nil {
				return err
			}
			switch output {
			case "json":
				encoder := json.NewEncoder(command.OutOrStdout())
				encoder.SetIndent("", "  ")
				return encoder.Encode(status)
			case "text":
				return printStatus(command.OutOrStdout(), status)
			default:
				return fmt.Errorf("output format %q: use text or json", output)
			}
		},
	}
	nameFlag(command, &name)
	command.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return command
}

func printStatus(out io.Writer, s lifecycle.Status) error {
	if s.State == lifecycle.Absent {
		fmt.Fprintf(out, "there is no cluster %q; start it with: sallyport-cluster up --name %s\n", s.Name, s.Name)
		return nil
	}
	table := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	for _, line := range [][2]string{
		{"cluster", s.Name}, {"state", string(s.State)}, {"kind", string(s.Kind)}, {"kubernetes", s.Kubernetes},
		{"api server", s.APIServer}, {"registry", s.Registry}, {"kubeconfig", s.Kubeconfig}, {"logs", s.Logs}, {"policy", s.Policy},
	} {
		if line[1] != "" {
			fmt.Fprintf(table, "%s\t%s\n", line[0], line[1])
		}
	}
	for _, c := range s.Components {
		fmt.Fprintf(table, "\n%s\t%s\tpid %d\trestarts %d\t%s", c.Name, c.Phase, c.PID, c.Restarts, c.Reason)
	}
	if len(s.Components) > 0 {
		fmt.Fprintln(table)
	}
	for _, h := range s.Hosts {
		fmt.Fprintf(table, "\n%s\t%s\ttcp %v\tudp %v\n", h.Domain(), h.IP, h.TCP, h.UDP)
	}
	return table.Flush()
}

func kubeconfigCommand() *cobra.Command {
	var name string
	command := &cobra.Command{
		Use:   "kubeconfig",
		Short: "Print the path of the cluster's kubeconfig",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if _, err := cluster.Load(name); err != nil {
				return err
			}
			if _, err := os.Stat(cluster.Kubeconfig(name)); err != nil {
				return fmt.Errorf("the cluster's kubeconfig is gone: %w", err)
			}
			fmt.Fprintln(command.OutOrStdout(), cluster.Kubeconfig(name))
			return nil
		},
	}
	nameFlag(command, &name)
	return command
}
