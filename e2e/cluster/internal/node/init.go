// Package node is the inside of a cluster: its namespaces, its components and the supervisor that keeps them running.
package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"

	"golang.org/x/sys/unix"

	"sallyport.dev/e2e/cluster/internal/cluster"
	"sallyport.dev/e2e/cluster/internal/network"
	"sallyport.dev/e2e/cluster/internal/outside"
)

// Init is process 1 of a node's namespaces. It furnishes them, waits until the machine has connected the network (it
// reads one byte from connected), starts the supervisor, and reaps every process that has lost its parent: containerd's
// shims above all. When it ends, the kernel ends everything in the namespaces.
func Init(name string, connected io.Reader) error {
	if os.Getpid() != 1 {
		return errors.New("init is process 1 of a cluster; it is started by: sallyport-cluster up")
	}
	s, err := cluster.Load(name)
	if err != nil {
		return err
	}
	if err := makeCgroups(s); err != nil {
		return err
	}
	if err := furnish(s); err != nil {
		return err
	}
	if n, _ := connected.Read(make([]byte, 1)); n != 1 {
		return errors.New("the network was not connected")
	}
	if err := network.RouteInside(netip.MustParsePrefix(cluster.ServiceCIDR)); err != nil {
		return err
	}
	supervisor := exec.Command(selfProgram, "supervise", "--name", name)
	supervisor.Stdout, supervisor.Stderr = os.Stdout, os.Stderr
	if err := supervisor.Start(); err != nil {
		return fmt.Errorf("start the supervisor: %w", err)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT)
	go func() {
		for s := range signals {
			_ = supervisor.Process.Signal(s)
		}
	}()
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("wait for processes: %w", err)
		}
		if pid == supervisor.Process.Pid {
			return fmt.Errorf("the supervisor ended with status %d", status.ExitStatus())
		}
	}
}

// Supervise runs the components of a cluster until it is told to end.
func Supervise(ctx context.Context, name string) error {
	ctx, cancel := signal.NotifyContext(ctx, unix.SIGTERM, unix.SIGINT)
	defer cancel()
	s, err := cluster.Load(name)
	if err != nil {
		return err
	}
	components, err := services(s)
	if err != nil {
		return err
	}
	v := &supervisor{logs: cluster.LogDir(name), log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	w := &world{cluster: name, supervisor: v}
	if s.Kind == cluster.Node {
		if err := outside.WriteNames(outside.NamesFile, nil); err != nil {
			return err
		}
	}
	if err := serveControl(ctx, cluster.ControlSocket(name), control(ctx, v, w)); err != nil {
		return err
	}
	var all []*running
	for _, component := range components {
		all = append(all, v.start(ctx, component))
	}
	<-ctx.Done()
	for _, r := range all {
		<-r.ended
	}
	return nil
}
