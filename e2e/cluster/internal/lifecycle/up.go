// Package lifecycle starts, stops and describes clusters.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sallyport.dev/e2e/cluster/internal/build"
	"sallyport.dev/e2e/cluster/internal/cluster"
	"sallyport.dev/e2e/cluster/internal/network"
	"sallyport.dev/e2e/cluster/internal/node"
	"sallyport.dev/e2e/cluster/internal/progress"
)

// Options say what cluster to start.
type Options struct {
	Name string
	Kind cluster.Kind
	// Kubernetes is a version of build.KubernetesVersions; empty means the default.
	Kubernetes string
	// Policy is what the policy agent is to do, if that is to be set: see cluster.PolicyMode.
	Policy cluster.PolicyMode
}

// Up starts a cluster and returns when it is fit for use. A cluster that runs already is only completed: what is missing
// in it is added.
func Up(ctx context.Context, o Options) (cluster.Spec, error) {
	if err := cluster.CheckName(o.Name); err != nil {
		return cluster.Spec{}, err
	}
	version, err := build.FindKubernetes(o.Kubernetes)
	if err != nil {
		return cluster.Spec{}, err
	}
	if err := checkMachine(o.Kind); err != nil {
		return cluster.Spec{}, err
	}
	unlock, err := cluster.LockCluster(o.Name)
	if err != nil {
		return cluster.Spec{}, err
	}
	defer unlock()
	s, err := ensureRunning(ctx, o, version)
	if err != nil {
		return cluster.Spec{}, err
	}
	if err := awaitComponents(ctx, s); err != nil {
		return cluster.Spec{}, err
	}
	if s.Kind == cluster.Node {
		if err := furnishCluster(ctx, s); err != nil {
			return cluster.Spec{}, err
		}
	}
	return s, nil
}

// ensureRunning returns the cluster that runs under this name, or starts one.
func ensureRunning(ctx context.Context, o Options, version build.KubernetesVersion) (cluster.Spec, error) {
	if _, ok := cluster.Running(o.Name); ok {
		s, err := cluster.Load(o.Name)
		if err != nil {
			return cluster.Spec{}, err
		}
		if s.Kind != o.Kind {
			return cluster.Spec{}, fmt.Errorf("cluster %q runs as %s already; choose another --name, or remove it first with: sallyport-cluster down --name %s",
				o.Name, s.Kind, o.Name)
		}
		if o.Kubernetes != "" && s.Kubernetes != version.Version {
			return cluster.Spec{}, fmt.Errorf("cluster %q runs Kubernetes %s already; choose another --name, or remove it first with: sallyport-cluster down --name %s",
				o.Name, s.Kubernetes, o.Name)
		}
		if o.Policy != "" {
			return s, SetPolicy(o.Name, o.Policy)
		}
		return s, nil
	}
	// What a cluster that was killed has left, or one that failed to start.
	if err := remove(o.Name); err != nil {
		return cluster.Spec{}, err
	}
	s, err := prepare(ctx, o, version)
	if err != nil {
		return cluster.Spec{}, err
	}
	return s, start(ctx, s)
}

// prepare builds the programs and writes the cluster's folder.
func prepare(ctx context.Context, o Options, version build.KubernetesVersion) (cluster.Spec, error) {
	programs, err := programsFor(ctx, o.Kind, version)
	if err != nil {
		return cluster.Spec{}, err
	}
	reported, err := kubernetesVersion(ctx, programs)
	if err != nil {
		return cluster.Spec{}, err
	}
	s := cluster.Spec{Name: o.Name, Kind: o.Kind, Kubernetes: reported, Programs: programs}
	unlock, err := cluster.LockSlots()
	if err != nil {
		return cluster.Spec{}, err
	}
	defer unlock()
	if o.Kind == cluster.Node {
		s.Slot, err = cluster.FreeSlot()
	} else {
		s.Ports, err = freePorts()
	}
	if err != nil {
		return cluster.Spec{}, err
	}
	if err := os.MkdirAll(cluster.StateDir(s.Name), 0o755); err != nil {
		return cluster.Spec{}, fmt.Errorf("make the cluster's folder: %w", err)
	}
	if err := node.WriteFiles(s); err != nil {
		return cluster.Spec{}, err
	}
	mode := o.Policy
	if mode == "" {
		mode = cluster.PolicyOn
	}
	if err := SetPolicy(s.Name, mode); err != nil {
		return cluster.Spec{}, err
	}
	return s, s.Save()
}

// programsFor builds what a cluster of this kind needs and maps each program's name to its file.
func programsFor(ctx context.Context, kind cluster.Kind, version build.KubernetesVersion) (map[string]string, error) {
	programs := map[string]string{}
	if assets := os.Getenv("KUBEBUILDER_ASSETS"); kind == cluster.ControlPlane && assets != "" {
		for _, name := range []string{"etcd", "kube-apiserver", "kubectl"} {
			path := filepath.Join(assets, name)
			if _, err := os.Stat(path); err != nil {
				return nil, fmt.Errorf("KUBEBUILDER_ASSETS has no %s (unset it to build one): %w", name, err)
			}
			programs[name] = path
		}
		return programs, nil
	}
	wanted := []string{version.Component, "etcd"}
	if kind == cluster.Node {
		wanted = append(wanted, "containerd", "runc", "cni", "policy-agent")
	}
	for _, name := range wanted {
		component, err := build.Lookup(name)
		if err != nil {
			return nil, err
		}
		dir, err := build.Ensure(ctx, name)
		if err != nil {
			return nil, err
		}
		for _, program := range component.Names() {
			programs[program] = filepath.Join(dir, program)
		}
	}
	return programs, nil
}

// kubernetesVersion asks the API server's program which release it is: that in KUBEBUILDER_ASSETS may be any.
func kubernetesVersion(ctx context.Context, programs map[string]string) (string, error) {
	out, err := exec.CommandContext(ctx, programs["kube-apiserver"], "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%s does not run on this machine: %w", programs["kube-apiserver"], err)
	}
	return strings.TrimSpace(strings.TrimPrefix(string(out), "Kubernetes ")), nil
}

// freePorts asks the kernel for loopback ports that nobody uses.
func freePorts() (cluster.Ports, error) {
	var ports [3]int
	for i := range ports {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return cluster.Ports{}, fmt.Errorf("find a free port: %w", err)
		}
		defer listener.Close()
		address, ok := listener.Addr().(*net.TCPAddr)
		if !ok {
			return cluster.Ports{}, errors.New("find a free port: the listener has no TCP address")
		}
		ports[i] = address.Port
	}
	return cluster.Ports{APIServer: ports[0], Etcd: ports[1], EtcdPeer: ports[2]}, nil
}

// start begins the cluster's own process, which goes on when this one ends.
func start(ctx context.Context, s cluster.Spec) (err error) {
	logPath := filepath.Join(cluster.LogDir(s.Name), "supervisor.log")
	log, err := os.Create(logPath)
	if err != nil {
		return fmt.Errorf("open the supervisor's log: %w", err)
	}
	defer log.Close()
	verb := "supervise"
	attributes := &unix.SysProcAttr{Setsid: true}
	if s.Kind == cluster.Node {
		verb = "init"
		attributes.Cloneflags = node.Namespaces
	}
	connected, connect, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make a pipe: %w", err)
	}
	defer connect.Close()
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	command := exec.Command(self, verb, "--name", s.Name)
	command.Dir = "/"
	command.Stdout, command.Stderr = log, log
	command.ExtraFiles = []*os.File{connected}
	command.SysProcAttr = attributes
	err = command.Start()
	connected.Close()
	if err != nil {
		return fmt.Errorf("start the cluster's process (are namespaces allowed on this machine?): %w", err)
	}
	go func() { _ = command.Wait() }() // so that it does not stay as a zombie if it ends before this process does
	if err := cluster.Remember(s.Name, command.Process.Pid); err != nil {
		return fmt.Errorf("the cluster's process ended at once: %w\n%s", err, tail(logPath))
	}
	if s.Kind == cluster.Node {
		if err := plug(s, command.Process.Pid); err != nil {
			_ = stop(s.Name)
			return err
		}
		if _, err := connect.Write([]byte{1}); err != nil {
			_ = stop(s.Name)
			return fmt.Errorf("the cluster's process ended at once: %w\n%s", err, tail(logPath))
		}
	}
	return awaitSupervisor(ctx, s, logPath)
}

func plug(s cluster.Spec, pid int) error {
	near, err := netip.ParseAddr(s.HostIP())
	if err != nil {
		return fmt.Errorf("address of the machine: %w", err)
	}
	far, err := netip.ParseAddr(s.NodeIP())
	if err != nil {
		return fmt.Errorf("address of the node: %w", err)
	}
	return network.Cable{
		Name: s.HostInterface(), PID: pid,
		Near: netip.PrefixFrom(near, 24), Far: netip.PrefixFrom(far, 24),
	}.Plug()
}

// awaitSupervisor waits until the supervisor answers.
func awaitSupervisor(ctx context.Context, s cluster.Spec, logPath string) error {
	client := node.NewClient(s.Name)
	for {
		if _, err := client.Status(ctx); err == nil {
			return nil
		}
		if _, ok := cluster.Running(s.Name); !ok {
			return fmt.Errorf("the cluster's process ended before it answered\n%s\nwhole log: %s", tail(logPath), logPath)
		}
		select {
		case <-ctx.Done():
			_ = stop(s.Name)
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// awaitComponents shows the components' start, one step each, and returns when all are ready. If one fails, the cluster
// is stopped; its folder stays for a look at the logs.
func awaitComponents(ctx context.Context, s cluster.Spec) error {
	client := node.NewClient(s.Name)
	for {
		status, err := client.Status(ctx)
		if err != nil {
			return err
		}
		allReady := true
		for _, c := range status.Components {
			switch {
			case c.Phase == node.Failed:
				_ = stop(s.Name)
				return componentError(c)
			case c.Phase != node.Ready:
				allReady = false
			}
		}
		if allReady {
			return nil
		}
		if err := awaitNext(ctx, client, status); err != nil {
			return err
		}
	}
}

// awaitNext shows one step: the first component that is not ready, until it is or any has failed.
func awaitNext(ctx context.Context, client node.Client, status node.Status) (err error) {
	first := ""
	for _, c := range status.Components {
		if c.Phase != node.Ready {
			first = c.Name
			break
		}
	}
	step := progress.Start("start %s", first)
	defer func() { step.Done(err) }()
	for {
		status, err = client.Status(ctx)
		if err != nil {
			return err
		}
		for _, c := range status.Components {
			if c.Phase == node.Failed {
				return nil // the caller names it
			}
			if c.Name == first {
				if c.Phase == node.Ready {
					return nil
				}
				step.Note("%s", c.Reason)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func componentError(c node.ServiceStatus) error {
	return fmt.Errorf("%s failed: %s\n%s\nwhole log: %s", c.Name, c.Reason, tail(c.Log), c.Log)
}

// tailLines is how much of a log an error message shows.
const tailLines = 15

// tail is the end of a log file, indented.
func tail(path string) string {
	raw, err := os.ReadFile(path)
	if err != nil {
		return fmt.Sprintf("  (no log: %v)", err)
	}
	lines := strings.Split(strings.TrimRight(string(raw), "\n"), "\n")
	if len(lines) > tailLines {
		lines = lines[len(lines)-tailLines:]
	}
	return "  " + strings.Join(lines, "\n  ")
}
