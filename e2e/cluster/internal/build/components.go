package build

import (
	"fmt"
	"slices"
	"strings"
)

// KubernetesVersion is one release of Kubernetes that a cluster can run.
type KubernetesVersion struct {
	// Version is the release, as in "v1.36.3". The go.mod of Component pins the same one (a test compares them).
	Version string
	// Component is the name of the component that builds its programs.
	Component string
}

// KubernetesVersions lists the releases that can be run, the default first. To add one: copy binaries/kubernetes to
// binaries/kubernetes-1.NN, change the versions in its go.mod, and add a line here and one in components.
var KubernetesVersions = []KubernetesVersion{
	{Version: "v1.36.3", Component: "kubernetes"},
}

// Component is something that is built from one Go module. The module's go.mod pins its version.
type Component struct {
	Name string
	// Module is the module's folder, below e2e/cluster.
	Module string
	// Packages are built, by default the module's `tool`s.
	Packages []string
	// Programs are the names of the files that the build leaves.
	Programs []string
	// Links maps further names to one of Programs: the program acts by the name that it is started by.
	Links map[string]string
	// Cgo builds with the C compiler.
	Cgo bool
	// Tags are Go build tags.
	Tags string
	// LDFlags are added to "-s -w".
	LDFlags string
	// TestBinary builds the module's tests, with `go test -c`, as the one program.
	TestBinary bool
	// Minutes is how long a cold build takes on two cores, roughly.
	Minutes float64
}

var components = []Component{
	{
		Name: "kubernetes", Module: "binaries/kubernetes", Packages: []string{"."}, Programs: []string{"kubernetes"}, Minutes: 5,
		Links:   linksTo("kubernetes", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"),
		LDFlags: kubernetesLDFlags("v1.36.3"),
	},
	{Name: "etcd", Module: "binaries/etcd", Programs: []string{"server"}, Links: linksTo("server", "etcd"), Minutes: 0.5},
	{Name: "containerd", Module: "binaries/containerd", Programs: []string{"containerd", "containerd-shim-runc-v2", "ctr"}, Minutes: 1},
	{Name: "runc", Module: "binaries/runc", Programs: []string{"runc"}, Cgo: true, Tags: "seccomp", Minutes: 0.3},
	{Name: "cni", Module: "binaries/cni", Programs: []string{"ptp", "loopback", "portmap", "host-local"}, Minutes: 0.3},
	{Name: "coredns", Module: "binaries/coredns", Packages: []string{"."}, Programs: []string{"coredns"}, Minutes: 1},
	{Name: "policy-agent", Module: "policy-agent", Packages: []string{"."}, Programs: []string{"policy-agent"}, Minutes: 1},
	{Name: "helm", Module: "binaries/helm", Programs: []string{"helm"}, LDFlags: "-X helm.sh/helm/v4/internal/version.version=v4.3.1", Minutes: 2},
	{Name: "sealed-secrets", Module: "binaries/sealed-secrets", Programs: []string{"controller", "kubeseal"}, LDFlags: "-X main.VERSION=0.27.1", Minutes: 1.5},
	{Name: "kubetools", Module: "binaries/kubetools", Programs: []string{"kubeconform", "kube-score", "kustomize"}, Minutes: 0.5},
	{Name: "agnhost", Module: "binaries/agnhost", Programs: []string{"agnhost"}, Minutes: 2},
	{Name: "netpol", Module: "binaries/netpol", Programs: []string{"netpol.test"}, TestBinary: true, Minutes: 2.5},
	{Name: "ginkgo", Module: "binaries/netpol", Programs: []string{"ginkgo"}, Minutes: 0.3},
	{Name: "kstatus", Module: "binaries/kstatus", Packages: []string{"."}, Programs: []string{"kstatus"}, Minutes: 0.5},
}

func linksTo(program string, names ...string) map[string]string {
	links := map[string]string{}
	for _, name := range names {
		links[name] = program
	}
	return links
}

// kubernetesLDFlags stamps the version that the programs report; without it they would say v0.0.0-master and clients
// that look at the server's version would be misled.
func kubernetesLDFlags(version string) string {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	var flags []string
	for _, pkg := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		flags = append(flags,
			fmt.Sprintf("-X %s.gitVersion=%s", pkg, version),
			fmt.Sprintf("-X %s.gitMajor=%s", pkg, parts[0]),
			fmt.Sprintf("-X %s.gitMinor=%s", pkg, parts[1]),
			fmt.Sprintf("-X %s.gitTreeState=clean", pkg),
		)
	}
	return strings.Join(flags, " ")
}

// Names lists every name by which a component's programs can be started.
func (c Component) Names() []string {
	names := slices.Clone(c.Programs)
	for link := range c.Links {
		names = append(names, link)
	}
	slices.Sort(names)
	return names
}

// Lookup finds a component by name.
func Lookup(name string) (Component, error) {
	for _, c := range components {
		if c.Name == name {
			return c, nil
		}
	}
	return Component{}, fmt.Errorf("no component %q; there are: %s", name, strings.Join(ComponentNames(), ", "))
}

// Providing finds the component that has a program of this name.
func Providing(program string) (Component, error) {
	var all []string
	for _, c := range components {
		names := c.Names()
		if slices.Contains(names, program) {
			return c, nil
		}
		all = append(all, names...)
	}
	slices.Sort(all)
	return Component{}, fmt.Errorf("no program %q; there are: %s", program, strings.Join(all, ", "))
}

// ComponentNames lists the components.
func ComponentNames() []string {
	names := make([]string, len(components))
	for i, c := range components {
		names[i] = c.Name
	}
	return names
}

// FindKubernetes finds a release by its version, with or without the leading "v"; the empty version is the default.
func FindKubernetes(version string) (KubernetesVersion, error) {
	if version == "" {
		return KubernetesVersions[0], nil
	}
	var known []string
	for _, k := range KubernetesVersions {
		if strings.TrimPrefix(version, "v") == strings.TrimPrefix(k.Version, "v") {
			return k, nil
		}
		known = append(known, k.Version)
	}
	return KubernetesVersion{}, fmt.Errorf("Kubernetes %s is not known here; there are: %s", version, strings.Join(known, ", "))
}
