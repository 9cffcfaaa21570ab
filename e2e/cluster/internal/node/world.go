package node

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"sallyport.dev/e2e/cluster/internal/cluster"
	"sallyport.dev/e2e/cluster/internal/network"
	"sallyport.dev/e2e/cluster/internal/outside"
)

// hostTimeout is how long a new test host may take until it listens.
const hostTimeout = 10 * time.Second

// nameTimeout is how long the cluster's name server may take to learn of a new test host.
const nameTimeout = 5 * time.Second

// world keeps the outside world's hosts running. Each is a component in a network namespace of its own, with a cable
// to the node, which routes between it and the pods.
type world struct {
	cluster    string
	supervisor *supervisor

	mu    sync.Mutex
	hosts []outside.Host
}

func hostService(name string) string { return "host-" + name }

// add starts a host and waits until it listens.
func (w *world) add(ctx context.Context, wanted outside.Host) (outside.Host, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h, err := outside.Place(wanted, w.hosts)
	if err != nil {
		return outside.Host{}, err
	}
	service := hostService(h.Name)
	socket := filepath.Join("/run/sallyport", service+".sock")
	running := w.supervisor.start(ctx, sinkService(h, w.cluster, socket))
	select {
	case <-running.becomes:
	case <-running.ended:
		err = fmt.Errorf("host %s did not start: %s (log: %s)", h.Name, running.snapshot().Reason, running.snapshot().Log)
	case <-time.After(hostTimeout):
		err = fmt.Errorf("host %s does not listen after %s: %s (log: %s)", h.Name, hostTimeout, running.snapshot().Reason, running.snapshot().Log)
	}
	if err != nil {
		_ = w.supervisor.stop(service)
		return outside.Host{}, err
	}
	w.hosts = append(w.hosts, h)
	if err := outside.WriteNames(outside.NamesFile, w.hosts); err != nil {
		return outside.Host{}, err
	}
	if err := awaitName(ctx, h); err != nil {
		w.supervisor.log.Warn("the host can be reached by its address only", "host", h.Name, "error", err)
	}
	return h, nil
}

// awaitName waits until the cluster's name server knows the host.
func awaitName(ctx context.Context, h outside.Host) error {
	ctx, cancel := context.WithTimeout(ctx, nameTimeout)
	defer cancel()
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(cluster.DNSServiceIP, "53"))
	}}
	for {
		addresses, err := resolver.LookupNetIP(ctx, "ip4", h.Domain()+".")
		if slices.Contains(addresses, h.IP) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not known to the cluster's name server after %s: %w", h.Domain(), nameTimeout, err)
		case <-time.After(probePause):
		}
	}
}

// remove ends a host and forgets its name. What it received stays in its log.
func (w *world) remove(name string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.IndexFunc(w.hosts, func(h outside.Host) bool { return h.Name == name })
	if i < 0 {
		return fmt.Errorf("no host %q; see: host list", name)
	}
	w.hosts = slices.Delete(w.hosts, i, i+1)
	if err := outside.WriteNames(outside.NamesFile, w.hosts); err != nil {
		return err
	}
	return w.supervisor.stop(hostService(name))
}

func (w *world) list() []outside.Host {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.hosts)
}

func sinkService(h outside.Host, clusterName, socket string) service {
	return service{
		name: hostService(h.Name), program: selfProgram, ownNetwork: true,
		args: slices.Concat(
			[]string{"sink", "--host", h.Name, "--ready-socket", socket, "--json", h.JSON},
			[]string{"--log", filepath.Join(cluster.HostsDir(clusterName), h.Name+".jsonl")},
			portFlags("--tcp", h.TCP), portFlags("--udp", h.UDP),
		),
		started: func(pid int) error {
			return network.Cable{
				// An interface's name has at most 15 characters; the address tells hosts apart.
				Name: fmt.Sprintf("out%d", h.IP.As4()[3]), PID: pid,
				Near: netip.PrefixFrom(outside.Router, 32), Far: netip.PrefixFrom(h.IP, 32), FarGateway: outside.Router,
			}.Plug()
		},
		ready: dial("unix", socket),
	}
}

func portFlags(flag string, ports []uint16) []string {
	var flags []string
	for _, p := range ports {
		flags = append(flags, flag, strconv.Itoa(int(p)))
	}
	return flags
}
