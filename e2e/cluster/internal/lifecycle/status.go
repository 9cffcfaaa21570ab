package lifecycle

import (
	"context"
	"os"
	"strings"

	"sallyport.dev/e2e/cluster/internal/cluster"
	"sallyport.dev/e2e/cluster/internal/node"
	"sallyport.dev/e2e/cluster/internal/outside"
)

// State is whether a cluster works.
type State string

const (
	// Absent: there is no cluster of that name.
	Absent State = "absent"
	// Stopped: it does not run; its logs are still there.
	Stopped State = "stopped"
	// Degraded: it runs, but a component does not do its work.
	Degraded State = "degraded"
	// Running: every component does its work.
	Running State = "running"
)

// Status is what can be told about one cluster.
type Status struct {
	Name       string               `json:"name"`
	State      State                `json:"state"`
	Kind       cluster.Kind         `json:"kind,omitempty"`
	Kubernetes string               `json:"kubernetes,omitempty"`
	APIServer  string               `json:"apiServer,omitempty"`
	Registry   string               `json:"registry,omitempty"`
	Kubeconfig string               `json:"kubeconfig,omitempty"`
	Logs       string               `json:"logs,omitempty"`
	PID        int                  `json:"pid,omitempty"`
	Policy     string               `json:"policy,omitempty"`
	Components []node.ServiceStatus `json:"components,omitempty"`
	Hosts      []outside.Host       `json:"hosts,omitempty"`
}

// Describe looks at a cluster.
func Describe(ctx context.Context, name string) (Status, error) {
	if err := cluster.CheckName(name); err != nil {
		return Status{}, err
	}
	s, err := cluster.Load(name)
	if err != nil {
		return Status{Name: name, State: Absent}, nil //nolint:nilerr // absence is an answer
	}
	status := Status{
		Name: name, State: Stopped, Kind: s.Kind, Kubernetes: s.Kubernetes,
		APIServer: s.APIServer(), Kubeconfig: cluster.Kubeconfig(name), Logs: cluster.LogDir(name),
	}
	if s.Kind == cluster.Node {
		status.Registry = s.Registry()
		if mode, err := os.ReadFile(cluster.PolicyModeFile(name)); err == nil {
			status.Policy = strings.TrimSpace(string(mode))
		}
	}
	process, ok := cluster.Running(name)
	if !ok {
		return status, nil
	}
	status.PID = process.PID
	inside, err := node.NewClient(name).Status(ctx)
	if err != nil {
		return status, err
	}
	status.State, status.Components, status.Hosts = Running, inside.Components, inside.Hosts
	for _, c := range inside.Components {
		if c.Phase != node.Ready {
			status.State = Degraded
		}
	}
	return status, nil
}
