package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Kind is how much of Kubernetes a cluster runs.
type Kind string

const (
	// Node is a whole cluster of one node, in namespaces of its own. It needs root.
	Node Kind = "node"
	// ControlPlane is etcd and the API server alone, on loopback ports of the machine. It needs no privileges.
	ControlPlane Kind = "control-plane"
)

// The networks inside a cluster. They are the same in every cluster: each has network namespaces of its own.
const (
	NodeName     = "node-1"
	PodCIDR      = "10.244.0.0/16"
	NodePodCIDR  = "10.244.0.0/24"
	ServiceCIDR  = "10.96.0.0/16"
	APIServiceIP = "10.96.0.1"
	DNSServiceIP = "10.96.0.10"
	DNSDomain    = "cluster.local"
	// OutsideCIDR is the outside world's network, where test hosts live. It is a special-purpose one that no host has
	// (AMT relays, RFC 7450) and that counts as public all the same: egress gateways refuse documentation networks.
	OutsideCIDR = "192.52.193.0/24"
	// OutsideDomain holds the names of the outside world's hosts.
	OutsideDomain = "outside.test"
	// ForwardedDomain is asked of the outside name server at NameServerIP, if a test host is there.
	ForwardedDomain = "exfil.outside.test"
	NameServerIP    = "192.52.193.53"
	// RegistryHost is the name by which images in the cluster's registry are pulled.
	RegistryHost = "registry.sallyport.test:5000"
	registryPort = 5000
)

// Ports are the loopback ports of a ControlPlane cluster.
type Ports struct {
	APIServer int `json:"apiServer"`
	Etcd      int `json:"etcd"`
	EtcdPeer  int `json:"etcdPeer"`
}

// Spec is what one cluster is. It is written once, before the cluster starts, and read by everything else.
type Spec struct {
	Name string `json:"name"`
	Kind Kind   `json:"kind"`
	// Kubernetes is the version, as in "v1.36.3".
	Kubernetes string `json:"kubernetes"`
	// Slot tells clusters on one machine apart: cluster N has the network 172.30.N.0/24. Kind Node only.
	Slot int `json:"slot"`
	// Ports are set for Kind ControlPlane only: a Node cluster has its addresses to itself.
	Ports Ports `json:"ports,omitzero"`
	// Programs maps the name of each program to the file to run.
	Programs map[string]string `json:"programs"`
}

// HostIP is the machine's own address on the cluster's network.
func (s Spec) HostIP() string { return fmt.Sprintf("172.30.%d.1", s.Slot) }

// NodeIP is the address of the cluster's only node, reachable from the machine.
func (s Spec) NodeIP() string {
	if s.Kind == ControlPlane {
		return "127.0.0.1"
	}
	return fmt.Sprintf("172.30.%d.2", s.Slot)
}

// HostInterface is the machine's end of the cable to the node.
func (s Spec) HostInterface() string { return fmt.Sprintf("sallyport%d", s.Slot) }

// CgroupName is the folder, in each cgroup hierarchy, under which the kubelet puts everything that it starts.
func (s Spec) CgroupName() string { return fmt.Sprintf("sallyport-%d", s.Slot) }

// APIServer is the API server's URL.
func (s Spec) APIServer() string {
	return fmt.Sprintf("https://%s:%d", s.NodeIP(), s.ports().APIServer)
}

// EtcdURL is where etcd serves its clients.
func (s Spec) EtcdURL() string { return fmt.Sprintf("https://127.0.0.1:%d", s.ports().Etcd) }

// EtcdPeerURL is where etcd would serve its peers.
func (s Spec) EtcdPeerURL() string { return fmt.Sprintf("https://127.0.0.1:%d", s.ports().EtcdPeer) }

// APIServerPort is the port of APIServer.
func (s Spec) APIServerPort() int { return s.ports().APIServer }

func (s Spec) ports() Ports {
	if s.Kind == ControlPlane {
		return s.Ports
	}
	return Ports{APIServer: 6443, Etcd: 2379, EtcdPeer: 2380}
}

// Registry is the address of the cluster's image registry as seen from the machine.
func (s Spec) Registry() string { return fmt.Sprintf("%s:%d", s.NodeIP(), registryPort) }

// ErrNoCluster says that there is no cluster of that name.
var ErrNoCluster = errors.New("no such cluster")

func specFile(name string) string { return filepath.Join(StateDir(name), "cluster.json") }

// Load reads the Spec of a cluster; the error is ErrNoCluster if there is none.
func Load(name string) (Spec, error) {
	raw, err := os.ReadFile(specFile(name))
	if errors.Is(err, fs.ErrNotExist) {
		return Spec{}, fmt.Errorf("cluster %q: %w; start it with: sallyport-cluster up --name %s", name, ErrNoCluster, name)
	}
	if err != nil {
		return Spec{}, fmt.Errorf("read the description of cluster %q: %w", name, err)
	}
	var s Spec
	if err := json.Unmarshal(raw, &s); err != nil {
		return Spec{}, fmt.Errorf("%s is damaged (%w); end the cluster's processes and delete its folder", specFile(name), err)
	}
	return s, nil
}

// Save writes the Spec into the cluster's folder, which must exist.
func (s Spec) Save() error {
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("describe cluster %q: %w", s.Name, err)
	}
	// Renamed into place: half a description would leave a cluster that nobody can remove.
	path := specFile(s.Name)
	if err := os.WriteFile(path+".new", append(raw, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the description of cluster %q: %w", s.Name, err)
	}
	return os.Rename(path+".new", path)
}

// Names lists the clusters that have a folder, running or not.
func Names() ([]string, error) {
	entries, err := os.ReadDir(ClustersDir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list clusters: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && CheckName(e.Name()) == nil {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// RegistryAddr is the address (host:port) at which this machine reaches the image registry of a cluster.
func RegistryAddr(name string) (string, error) {
	s, err := Load(name)
	if err != nil {
		return "", err
	}
	if s.Kind != Node {
		return "", fmt.Errorf("cluster %q has no image registry: it was started with --control-plane-only", name)
	}
	return s.Registry(), nil
}
