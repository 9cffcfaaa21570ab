package node

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"sallyport.dev/e2e/cluster/internal/cluster"
)

// services lists the components of a cluster in the order in which they are to start.
func services(s cluster.Spec) ([]service, error) {
	l := layoutOf(s.Name)
	probes, err := newProbes(l)
	if err != nil {
		return nil, err
	}
	all := []service{etcd(s, l, probes), apiserver(s, l, probes)}
	if s.Kind == cluster.ControlPlane {
		return all, nil
	}
	all = append(all,
		controllerManager(l, probes), scheduler(l, probes), registry(s, l, probes),
		containerd(l), kubelet(s, l, probes), kubeProxy(l, probes),
	)
	if _, ok := s.Programs["policy-agent"]; ok {
		all = append(all, policyAgent(s, l))
	}
	return all, nil
}

func etcd(s cluster.Spec, l layout, p probes) service {
	dir := "/var/lib/etcd"
	if s.Kind == cluster.ControlPlane {
		dir = filepath.Join(l.state, "etcd")
	}
	return service{
		name:    "etcd",
		program: l.program("etcd"),
		args: []string{
			"--name=default", "--data-dir=" + dir, "--log-level=warn",
			"--listen-client-urls=" + s.EtcdURL(), "--advertise-client-urls=" + s.EtcdURL(),
			"--listen-peer-urls=" + s.EtcdPeerURL(), "--initial-advertise-peer-urls=" + s.EtcdPeerURL(),
			"--initial-cluster=default=" + s.EtcdPeerURL(),
			"--cert-file=" + l.certificate("etcd"), "--key-file=" + l.key("etcd"),
			"--client-cert-auth", "--trusted-ca-file=" + l.certificate("ca"),
			"--peer-cert-file=" + l.certificate("etcd"), "--peer-key-file=" + l.key("etcd"),
			"--peer-client-cert-auth", "--peer-trusted-ca-file=" + l.certificate("ca"),
			// The data of a test cluster need not outlive the machine.
			"--unsafe-no-fsync",
		},
		ready: p.get(s.EtcdURL() + "/health"),
	}
}

func apiserver(s cluster.Spec, l layout, p probes) service {
	args := []string{
		"--etcd-servers=" + s.EtcdURL(), "--etcd-cafile=" + l.certificate("ca"),
		"--etcd-certfile=" + l.certificate("etcd-client"), "--etcd-keyfile=" + l.key("etcd-client"),
		"--secure-port=" + strconv.Itoa(s.APIServerPort()),
		"--tls-cert-file=" + l.certificate("apiserver"), "--tls-private-key-file=" + l.key("apiserver"),
		"--client-ca-file=" + l.certificate("ca"),
		"--service-account-key-file=" + l.certificate("service-accounts"),
		"--service-account-signing-key-file=" + l.key("service-accounts"),
		"--service-account-issuer=https://kubernetes.default.svc." + cluster.DNSDomain,
		"--service-cluster-ip-range=" + cluster.ServiceCIDR,
		"--authorization-mode=Node,RBAC", "--allow-privileged=true",
		"--audit-policy-file=" + l.setting("audit-policy.yaml"), "--audit-log-path=" + filepath.Join(l.log, "audit.jsonl"),
		"--audit-log-maxsize=1000", "--audit-log-maxbackup=1",
	}
	if s.Kind == cluster.ControlPlane {
		args = append(args,
			"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none",
			// Nobody makes service accounts where there is no controller manager, so pods would be refused.
			"--disable-admission-plugins=ServiceAccount",
		)
	} else {
		args = append(args,
			"--advertise-address="+s.NodeIP(), "--enable-admission-plugins=NodeRestriction",
			// Nothing resolves the node's name.
			"--kubelet-preferred-address-types=InternalIP", "--kubelet-certificate-authority="+l.certificate("ca"),
			"--kubelet-client-certificate="+l.certificate("apiserver-kubelet"), "--kubelet-client-key="+l.key("apiserver-kubelet"),
		)
	}
	return service{
		name: "kube-apiserver", program: l.program("kube-apiserver"), args: args,
		after: []string{"etcd"}, ready: p.get(s.APIServer() + "/readyz"),
	}
}

func controllerManager(l layout, p probes) service {
	kubeconfig := l.setting("controller-manager.kubeconfig")
	return service{
		name: "kube-controller-manager", program: l.program("kube-controller-manager"),
		args: []string{
			"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
			"--bind-address=127.0.0.1", "--tls-cert-file=" + l.certificate("controller-manager"),
			"--tls-private-key-file=" + l.key("controller-manager"),
			"--root-ca-file=" + l.certificate("ca"), "--service-account-private-key-file=" + l.key("service-accounts"),
			"--cluster-signing-cert-file=" + l.certificate("ca"), "--cluster-signing-key-file=" + l.key("ca"),
			"--use-service-account-credentials", "--allocate-node-cidrs", "--cluster-cidr=" + cluster.PodCIDR,
			"--leader-elect=false", "--flex-volume-plugin-dir=/var/lib/kubelet/volume-plugins",
			"--kube-api-qps=100", "--kube-api-burst=200",
		},
		after: []string{"kube-apiserver"}, ready: p.get("https://127.0.0.1:10257/healthz"),
	}
}

func scheduler(l layout, p probes) service {
	kubeconfig := l.setting("scheduler.kubeconfig")
	return service{
		name: "kube-scheduler", program: l.program("kube-scheduler"),
		args: []string{
			"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
			"--bind-address=127.0.0.1", "--tls-cert-file=" + l.certificate("scheduler"),
			"--tls-private-key-file=" + l.key("scheduler"), "--leader-elect=false",
		},
		after: []string{"kube-apiserver"}, ready: p.get("https://127.0.0.1:10259/healthz"),
	}
}

func registry(s cluster.Spec, l layout, p probes) service {
	return service{
		name: "registry", program: selfProgram,
		args:  []string{"registry", "--listen", fmt.Sprintf(":%d", RegistryPort), "--dir", filepath.Join(l.state, "registry")},
		ready: p.get("http://" + s.Registry() + "/v2/"),
	}
}

func containerd(l layout) service {
	return service{
		name: "containerd", program: l.program("containerd"),
		args: []string{"--config", l.setting("containerd.toml")},
		// containerd finds its shim, and the shim finds runc, by PATH.
		env:   []string{"PATH=" + l.bin + ":" + os.Getenv("PATH")},
		ready: dial("unix", "/run/containerd/containerd.sock"),
	}
}

func kubelet(s cluster.Spec, l layout, p probes) service {
	return service{
		name: "kubelet", program: l.program("kubelet"),
		args: []string{
			"--config=" + l.setting("kubelet.yaml"), "--kubeconfig=" + l.setting("kubelet.kubeconfig"),
			"--hostname-override=" + cluster.NodeName, "--node-ip=" + s.NodeIP(), "--cert-dir=/var/lib/kubelet/pki",
		},
		after: []string{"kube-apiserver", "containerd"}, ready: p.get("http://127.0.0.1:10248/healthz"),
	}
}

func kubeProxy(l layout, p probes) service {
	return service{
		name: "kube-proxy", program: l.program("kube-proxy"),
		args:  []string{"--config=" + l.setting("kube-proxy.yaml")},
		after: []string{"kube-apiserver"}, ready: p.get("http://127.0.0.1:10256/livez"),
	}
}

func policyAgent(s cluster.Spec, l layout) service {
	return service{
		name: "policy-agent", program: l.program("policy-agent"),
		args: []string{
			"--kubeconfig=" + l.setting("policy-agent.kubeconfig"), "--pod-cidr=" + cluster.PodCIDR,
			"--cni-cache=/var/lib/cni/results", "--mode-file=" + cluster.PolicyModeFile(s.Name),
		},
		after: []string{"kube-apiserver"},
	}
}

func (l layout) program(name string) string     { return filepath.Join(l.bin, name) }
func (l layout) setting(name string) string     { return filepath.Join(l.conf, name) }
func (l layout) certificate(name string) string { return filepath.Join(l.pki, name+".crt") }
func (l layout) key(name string) string         { return filepath.Join(l.pki, name+".key") }
