package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sallyport.dev/e2e/cluster/internal/cluster"
)

func TestEverySettingIsFilledInAndEveryComponentHasItsProgram(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	s := cluster.Spec{Name: "x", Kind: cluster.Node, Slot: 3, Programs: map[string]string{}}
	for _, name := range []string{
		"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "containerd", "policy-agent",
	} {
		s.Programs[name] = "/bin/true"
	}
	if err := WriteFiles(s); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(cluster.StateDir("x"), func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path)
		if strings.Contains(string(raw), "<no value>") {
			t.Errorf("%s has a gap", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	all, err := services(s)
	if err != nil {
		t.Fatal(err)
	}
	started := map[string]bool{}
	for _, component := range all {
		if component.program != selfProgram {
			if _, err := os.Stat(component.program); err != nil {
				t.Error(err)
			}
		}
		for _, needed := range component.after {
			if !started[needed] {
				t.Errorf("%s starts before %s, which it needs", component.name, needed)
			}
		}
		started[component.name] = true
		for _, argument := range component.args {
			if _, path, ok := strings.Cut(argument, "="); ok && strings.HasPrefix(path, cluster.StateDir("x")+"/conf") {
				if _, err := os.Stat(path); err != nil {
					t.Errorf("%s: %v", component.name, err)
				}
			}
		}
	}
}
