package main

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"sallyport.dev/e2e/cluster/internal/cluster"
	"sallyport.dev/e2e/cluster/internal/lifecycle"
	"sallyport.dev/e2e/cluster/internal/node"
	"sallyport.dev/e2e/cluster/internal/outside"
)

func policyCommand() *cobra.Command {
	var name string
	command := &cobra.Command{
		Use:       "policy on|off|lag DURATION",
		Short:     "Tell the running policy agent to enforce NetworkPolicies, not to, or to do so late",
		Example:   "  sallyport-cluster policy lag 5s",
		ValidArgs: []string{"on", "off", "lag"},
		Args:      cobra.RangeArgs(1, 2),
		RunE: func(_ *cobra.Command, args []string) error {
			mode, err := parsePolicy(args)
			if err != nil {
				return err
			}
			if _, err := cluster.Load(name); err != nil {
				return err
			}
			return lifecycle.SetPolicy(name, mode)
		},
	}
	nameFlag(command, &name)
	return command
}

func parsePolicy(args []string) (cluster.PolicyMode, error) {
	switch {
	case len(args) == 1 && args[0] == "on":
		return cluster.PolicyOn, nil
	case len(args) == 1 && args[0] == "off":
		return cluster.PolicyOff, nil
	case len(args) == 2 && args[0] == "lag":
		lag, err := time.ParseDuration(args[1])
		if err != nil {
			return "", fmt.Errorf("lag: %w", err)
		}
		return cluster.PolicyLag(lag)
	default:
		return "", fmt.Errorf("policy %v: use on, off, or lag and a duration such as 5s", args)
	}
}

func hostCommand() *cobra.Command {
	var name string
	command := &cobra.Command{
		Use:   "host",
		Short: "Test hosts in the world outside of the cluster: they accept what pods send, and write it down",
		Args:  cobra.NoArgs,
	}
	nameFlag(command, &name)
	command.AddCommand(hostAddCommand(&name), hostListCommand(&name), hostLogCommand(&name), hostRemoveCommand(&name))
	return command
}

func hostAddCommand(name *string) *cobra.Command {
	var ip, json string
	var tcp, udp []uint
	command := &cobra.Command{
		Use:   "add HOST",
		Short: "Start a host, named HOST." + cluster.OutsideDomain,
		Args:  cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) (err error) {
			wanted := outside.Host{Name: args[0], JSON: json}
			if wanted.TCP, err = parsePorts(tcp); err != nil {
				return err
			}
			if wanted.UDP, err = parsePorts(udp); err != nil {
				return err
			}
			if ip != "" {
				if wanted.IP, err = netip.ParseAddr(ip); err != nil {
					return fmt.Errorf("--ip: %w", err)
				}
			}
			h, err := node.NewClient(*name).AddHost(command.Context(), wanted)
			if err != nil {
				return err
			}
			fmt.Fprintf(command.OutOrStdout(), "%s %s\n", h.IP, h.Domain())
			return nil
		},
	}
	command.Flags().StringVar(&ip, "ip", "", "its address, in "+cluster.OutsideCIDR+" (default: a free one)")
	command.Flags().UintSliceVar(&tcp, "tcp", []uint{443, 80}, "TCP ports on which it accepts everything")
	command.Flags().UintSliceVar(&udp, "udp", nil, "UDP ports on which it accepts everything; it answers DNS on 53")
	command.Flags().StringVar(&json, "json", "", "JSON document with which it answers HTTP requests (default: a greeting)")
	return command
}

func hostListCommand(name *string) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the hosts",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			status, err := node.NewClient(*name).Status(command.Context())
			if err != nil {
				return err
			}
			table := tabwriter.NewWriter(command.OutOrStdout(), 0, 4, 2, ' ', 0)
			for _, h := range status.Hosts {
				fmt.Fprintf(table, "%s\t%s\ttcp %v\tudp %v\n", h.Domain(), h.IP, h.TCP, h.UDP)
			}
			return table.Flush()
		},
	}
}

func hostLogCommand(name *string) *cobra.Command {
	return &cobra.Command{
		Use:   "log HOST",
		Short: "Print what a host has received, one JSON object a line",
		Args:  cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			file, err := os.Open(filepath.Join(cluster.HostsDir(*name), filepath.Base(args[0])+".jsonl"))
			if err != nil {
				return fmt.Errorf("no log of host %q; see: host list (%w)", args[0], err)
			}
			defer file.Close()
			_, err = io.Copy(command.OutOrStdout(), file)
			return err
		},
	}
}

func hostRemoveCommand(name *string) *cobra.Command {
	return &cobra.Command{
		Use:   "rm HOST",
		Short: "Remove a host; what it has received stays in its log",
		Args:  cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			return node.NewClient(*name).RemoveHost(command.Context(), args[0])
		},
	}
}

func parsePorts(numbers []uint) ([]uint16, error) {
	var ports []uint16
	for _, n := range numbers {
		if n == 0 || n > 65535 {
			return nil, fmt.Errorf("port %d: use 1 to 65535", n)
		}
		ports = append(ports, uint16(n))
	}
	return ports, nil
}
