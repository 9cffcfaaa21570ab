package lifecycle

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"

	"sallyport.dev/e2e/cluster/internal/cluster"
	"sallyport.dev/e2e/cluster/internal/images"
	"sallyport.dev/e2e/cluster/internal/outside"
	"sallyport.dev/e2e/cluster/internal/progress"
)

//go:embed templates
var templateFiles embed.FS

var templates = template.Must(template.ParseFS(templateFiles, "templates/*"))

// furnishCluster gives a running cluster what pods take for granted: the images of the system's pods, and names.
func furnishCluster(ctx context.Context, s cluster.Spec) error {
	references := images.References{}
	for _, name := range []string{"pause", "coredns"} {
		image, err := images.Ensure(ctx, name)
		if err != nil {
			return err
		}
		registry := images.Registry{Address: s.Registry(), PulledAs: cluster.RegistryHost, PlainHTTP: true}
		if references[name], err = registry.Push(ctx, image); err != nil {
			return err
		}
	}
	if err := references.MergeInto(cluster.ImagesFile(s.Name)); err != nil {
		return err
	}
	if err := applyCoreDNS(ctx, s, references["coredns"]); err != nil {
		return err
	}
	if err := progress.Do("wait until node "+cluster.NodeName+" is Ready", func() error {
		if err := kubectl(ctx, s, nil, "wait", "--for=create", "node/"+cluster.NodeName, "--timeout=60s"); err != nil {
			return err
		}
		return kubectl(ctx, s, nil, "wait", "--for=condition=Ready", "node/"+cluster.NodeName, "--timeout=60s")
	}); err != nil {
		return fmt.Errorf("%w\nlog of the kubelet: %s", err, filepath.Join(cluster.LogDir(s.Name), "kubelet.log"))
	}
	return progress.Do("wait until CoreDNS answers", func() error {
		return kubectl(ctx, s, nil, "-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=90s")
	})
}

func applyCoreDNS(ctx context.Context, s cluster.Spec, image string) error {
	// A new configuration makes new pods: CoreDNS reads it only once.
	raw, err := templateFiles.ReadFile("templates/coredns.yaml")
	if err != nil {
		return fmt.Errorf("read the manifest of CoreDNS: %w", err)
	}
	var manifest bytes.Buffer
	if err := templates.ExecuteTemplate(&manifest, "coredns.yaml", map[string]string{
		"Image": image, "DNSDomain": cluster.DNSDomain, "DNSServiceIP": cluster.DNSServiceIP,
		"OutsideDomain": cluster.OutsideDomain, "NamesDir": filepath.Dir(outside.NamesFile),
		"ForwardedDomain": cluster.ForwardedDomain, "NameServerIP": cluster.NameServerIP,
		"Configuration": fmt.Sprintf("%x", sha256.Sum256(raw))[:12],
	}); err != nil {
		return fmt.Errorf("fill in the manifest of CoreDNS: %w", err)
	}
	return progress.Do("apply CoreDNS", func() error {
		return kubectl(ctx, s, manifest.Bytes(), "apply", "--server-side", "--force-conflicts", "--field-manager=sallyport-cluster", "-f", "-")
	})
}

// kubectl runs the cluster's own kubectl as its administrator; the error holds what it printed.
func kubectl(ctx context.Context, s cluster.Spec, input []byte, args ...string) error {
	command := exec.CommandContext(ctx, filepath.Join(cluster.BinDir(s.Name), "kubectl"), args...)
	command.Env = append(os.Environ(), "KUBECONFIG="+cluster.Kubeconfig(s.Name))
	command.Stdin = bytes.NewReader(input)
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
