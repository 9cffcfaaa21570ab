package node

import (
	"bytes"
	"embed"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"text/template"

	"sallyport.dev/e2e/cluster/internal/cluster"
	"sallyport.dev/e2e/cluster/internal/pki"
)

//go:embed templates
var templateFiles embed.FS

var templates = template.Must(template.ParseFS(templateFiles, "templates/*"))

// RegistryPort is the port of the image registry on the node.
const RegistryPort = 5000

// PauseImage is the image whose one process holds each pod's namespaces. It is the only one that is pulled by tag.
const PauseImage = cluster.RegistryHost + "/sallyport/pause:latest"

// layout says where a cluster's own files are.
type layout struct {
	state, conf, pki, log, bin string
}

func layoutOf(name string) layout {
	state := cluster.StateDir(name)
	return layout{
		state: state,
		conf:  filepath.Join(state, "conf"),
		pki:   filepath.Join(state, "pki"),
		log:   cluster.LogDir(name),
		bin:   cluster.BinDir(name),
	}
}

// WriteFiles fills the cluster's folder with everything that its components read: links to their programs, keys,
// kubeconfigs, settings. The folder must be new.
func WriteFiles(s cluster.Spec) error {
	l := layoutOf(s.Name)
	for _, dir := range []string{l.conf, l.pki, l.log, l.bin, cluster.HostsDir(s.Name)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make the cluster's folders: %w", err)
		}
	}
	for name, program := range s.Programs {
		if err := os.Symlink(program, filepath.Join(l.bin, name)); err != nil {
			return fmt.Errorf("link program %s: %w", name, err)
		}
	}
	if err := writeIdentities(s, l); err != nil {
		return err
	}
	return writeSettings(s, l)
}

// identities lists everyone who speaks in the cluster, by the name of their certificate.
func identities(s cluster.Spec) map[string]pki.Identity {
	ids := map[string]pki.Identity{
		"etcd":        {User: "etcd", Hosts: []string{"127.0.0.1", "localhost"}},
		"etcd-client": {User: "etcd-client"},
		"apiserver": {User: "kube-apiserver", Hosts: []string{
			"127.0.0.1", "localhost", s.NodeIP(), cluster.APIServiceIP, "kubernetes", "kubernetes.default",
			"kubernetes.default.svc", "kubernetes.default.svc." + cluster.DNSDomain,
		}},
		"admin": {User: "admin", Groups: []string{"system:masters"}},
	}
	if s.Kind == cluster.ControlPlane {
		return ids
	}
	ids["apiserver-kubelet"] = pki.Identity{User: "apiserver-kubelet", Groups: []string{"system:masters"}}
	ids["controller-manager"] = pki.Identity{User: "system:kube-controller-manager", Hosts: []string{"127.0.0.1"}}
	ids["scheduler"] = pki.Identity{User: "system:kube-scheduler", Hosts: []string{"127.0.0.1"}}
	ids["kubelet"] = pki.Identity{
		User: "system:node:" + cluster.NodeName, Groups: []string{"system:nodes"}, Hosts: []string{cluster.NodeName, s.NodeIP()},
	}
	ids["kube-proxy"] = pki.Identity{User: "system:kube-proxy"}
	ids["policy-agent"] = pki.Identity{User: "policy-agent", Groups: []string{"system:masters"}}
	return ids
}

func writeIdentities(s cluster.Spec, l layout) error {
	authority, err := pki.NewAuthority("sallyport-" + s.Name)
	if err != nil {
		return err
	}
	own, err := authority.Pair()
	if err != nil {
		return err
	}
	if err := own.Write(l.pki, "ca"); err != nil {
		return err
	}
	private, public, err := pki.NewSigningKey()
	if err != nil {
		return err
	}
	if err := (pki.Pair{Certificate: public, Key: private}).Write(l.pki, "service-accounts"); err != nil {
		return err
	}
	for name, id := range identities(s) {
		p, err := authority.Issue(id)
		if err != nil {
			return err
		}
		if err := p.Write(l.pki, name); err != nil {
			return err
		}
		path := filepath.Join(l.conf, name+".kubeconfig")
		if name == "admin" {
			path = cluster.Kubeconfig(s.Name)
		}
		if err := render("kubeconfig.yaml", path, 0o600, map[string]string{
			"Cluster":     "sallyport-" + s.Name,
			"Server":      s.APIServer(),
			"CA":          base64.StdEncoding.EncodeToString(authority.Certificate()),
			"User":        "sallyport-" + s.Name + "-" + name,
			"Certificate": base64.StdEncoding.EncodeToString(p.Certificate),
			"Key":         base64.StdEncoding.EncodeToString(p.Key),
		}); err != nil {
			return err
		}
	}
	return nil
}

func writeSettings(s cluster.Spec, l layout) error {
	values := map[string]any{
		"PKI": l.pki, "Conf": l.conf, "BinDir": l.bin,
		"CgroupName": s.CgroupName(), "NodeName": cluster.NodeName,
		"PodCIDR": cluster.PodCIDR, "NodePodCIDR": cluster.NodePodCIDR,
		"DNSDomain": cluster.DNSDomain, "DNSServiceIP": cluster.DNSServiceIP,
		"RegistryPort": RegistryPort, "PauseImage": PauseImage,
	}
	files := map[string]string{"audit-policy.yaml": "audit-policy.yaml"}
	if s.Kind == cluster.Node {
		for _, name := range []string{"containerd.toml", "kubelet.yaml", "kube-proxy.yaml"} {
			files[name] = name
		}
		files["cni.conflist"] = "cni/10-sallyport.conflist"
		files["hosts.toml"] = filepath.Join("registry", cluster.RegistryHost, "hosts.toml")
		// Pods get the cluster's name server from the kubelet. Nothing of the machine's own may show inside.
		if err := os.WriteFile(filepath.Join(l.conf, "resolv.conf"), nil, 0o644); err != nil {
			return fmt.Errorf("write resolv.conf: %w", err)
		}
	}
	for from, to := range files {
		if err := render(from, filepath.Join(l.conf, to), 0o644, values); err != nil {
			return err
		}
	}
	return nil
}

func render(name, path string, mode os.FileMode, values any) error {
	var out bytes.Buffer
	if err := templates.ExecuteTemplate(&out, name, values); err != nil {
		return fmt.Errorf("fill in %s: %w", name, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make the folder of %s: %w", path, err)
	}
	if err := os.WriteFile(path, out.Bytes(), mode); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
