package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"sallyport.dev/e2e/cluster/internal/node"
	"sallyport.dev/e2e/cluster/internal/outside"
	"sallyport.dev/e2e/cluster/internal/registry"
)

// internalCommands are the parts that this program itself plays inside of a cluster. Nobody types them.
func internalCommands() []*cobra.Command {
	all := []*cobra.Command{initCommand(), superviseCommand(), registryCommand(), sinkCommand()}
	for _, command := range all {
		command.Hidden = true
		command.Args = cobra.NoArgs
	}
	return all
}

func initCommand() *cobra.Command {
	var name string
	command := &cobra.Command{
		Use: "init",
		RunE: func(*cobra.Command, []string) error {
			return node.Init(name, os.NewFile(3, "connected"))
		},
	}
	nameFlag(command, &name)
	return command
}

func superviseCommand() *cobra.Command {
	var name string
	command := &cobra.Command{
		Use:  "supervise",
		RunE: func(command *cobra.Command, _ []string) error { return node.Supervise(command.Context(), name) },
	}
	nameFlag(command, &name)
	return command
}

func registryCommand() *cobra.Command {
	var listen, dir string
	command := &cobra.Command{
		Use:  "registry",
		RunE: func(command *cobra.Command, _ []string) error { return registry.Serve(command.Context(), listen, dir) },
	}
	command.Flags().StringVar(&listen, "listen", "127.0.0.1:5000", "the address to serve on")
	command.Flags().StringVar(&dir, "dir", "", "where layers are kept")
	return command
}

func sinkCommand() *cobra.Command {
	var h outside.Host
	var log, readySocket string
	var tcp, udp []uint
	command := &cobra.Command{
		Use: "sink",
		RunE: func(command *cobra.Command, _ []string) (err error) {
			if h.TCP, err = parsePorts(tcp); err != nil {
				return err
			}
			if h.UDP, err = parsePorts(udp); err != nil {
				return err
			}
			file, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
			if err != nil {
				return fmt.Errorf("open the host's log: %w", err)
			}
			defer file.Close()
			sink := outside.Sink{Host: h, Log: file, AuthorityFile: strings.TrimSuffix(log, ".jsonl") + ".ca.pem"}
			return sink.Serve(command.Context(), func() error { return announce(readySocket) })
		},
	}
	flags := command.Flags()
	flags.StringVar(&h.Name, "host", "", "the host's name")
	flags.StringVar(&h.JSON, "json", "", "JSON document that HTTP requests are answered with")
	flags.UintSliceVar(&tcp, "tcp", nil, "TCP ports")
	flags.UintSliceVar(&udp, "udp", nil, "UDP ports")
	flags.StringVar(&log, "log", "", "file that gets one JSON line for each connection and datagram")
	flags.StringVar(&readySocket, "ready-socket", "", "unix socket that accepts connections once the host is ready")
	return command
}

// announce opens a unix socket: that it can be connected to says that the host is ready.
func announce(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make the folder of the host's socket: %w", err)
	}
	_ = os.Remove(path)
	listener, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("say that the host is ready: %w", err)
	}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			connection.Close()
		}
	}()
	return nil
}
