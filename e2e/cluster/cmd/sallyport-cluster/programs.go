package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"sallyport.dev/e2e/cluster/internal/build"
	"sallyport.dev/e2e/cluster/internal/cluster"
)

func binCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "bin PROGRAM...",
		Short: "Print the path of each program (helm, kubectl, kubeseal, ...), after building it if that was not done yet",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(command *cobra.Command, names []string) error {
			for _, name := range names {
				path, err := build.Program(command.Context(), name)
				if err != nil {
					return err
				}
				fmt.Fprintln(command.OutOrStdout(), path)
			}
			return nil
		},
	}
}

func execCommand() *cobra.Command {
	var name string
	command := &cobra.Command{
		Use:   "exec [--] COMMAND [ARGUMENT...]",
		Short: "Run a command inside the node: in its network, with its processes and mounts, and with KUBECONFIG set",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			s, err := cluster.Load(name)
			if err != nil {
				return err
			}
			if s.Kind != cluster.Node {
				return fmt.Errorf("cluster %q has no node to run a command in", name)
			}
			process, ok := cluster.Running(name)
			if !ok {
				return fmt.Errorf("cluster %q does not run; start it with: sallyport-cluster up --name %s", name, name)
			}
			nsenter, err := exec.LookPath("nsenter")
			if err != nil {
				return errors.New("this machine lacks nsenter; install with: apt-get install util-linux")
			}
			working, err := os.Getwd()
			if err != nil {
				working = "/"
			}
			arguments := append([]string{
				"nsenter", "--target", strconv.Itoa(process.PID), "--mount", "--uts", "--ipc", "--net", "--pid", "--wdns=" + working, "--",
			}, args...)
			return unix.Exec(nsenter, arguments, insideEnvironment(name))
		},
	}
	nameFlag(command, &name)
	// What follows the command's name belongs to the command.
	command.Flags().SetInterspersed(false)
	return command
}

// insideEnvironment makes the cluster's programs the first in PATH.
func insideEnvironment(name string) []string {
	return append(os.Environ(),
		"PATH="+cluster.BinDir(name)+":"+os.Getenv("PATH"),
		"KUBECONFIG="+cluster.Kubeconfig(name),
		"CONTAINERD_ADDRESS=/run/containerd/containerd.sock",
		"CONTAINERD_NAMESPACE=k8s.io",
	)
}
