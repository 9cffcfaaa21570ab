package build

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/mod/modfile"
)

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func hashOf(t *testing.T, in inputs) string {
	t.Helper()
	hash, err := in.hash()
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

func TestAHashChangesWithEveryInputAndWithNothingElse(t *testing.T) {
	base := inputs{component: Component{Name: "x", Programs: []string{"x"}}, module: t.TempDir(), goVersion: "go1.26.8"}
	write(t, base.module, "go.mod", "module x\n")
	write(t, base.module, "main.go", "package main\n")
	before := hashOf(t, base)
	if len(before) != 12 {
		t.Errorf("hash %q does not have 12 digits", before)
	}

	write(t, base.module, "README.md", "words")
	write(t, base.module, "main_test.go", "package main\n")
	write(t, base.module, ".editor", "settings")
	write(t, base.module, "testdata/case.txt", "data")
	if hashOf(t, base) != before {
		t.Error("a document, a test, a hidden file or test data changed the hash")
	}

	newer := base
	newer.goVersion = "go1.27.0"
	tagged := base
	tagged.component.Tags = "seccomp"
	tests := base
	tests.component.TestBinary = true
	for what, in := range map[string]inputs{"compiler": newer, "build tags": tagged, "tests of a test binary": tests} {
		if hashOf(t, in) == before {
			t.Errorf("another %s did not change the hash", what)
		}
	}
	write(t, base.module, "internal/more.go", "package internal\n")
	if hashOf(t, base) == before {
		t.Error("a new source file did not change the hash")
	}
}

func TestEveryKubernetesVersionIsTheOneThatItsModulePins(t *testing.T) {
	for _, version := range KubernetesVersions {
		component, err := Lookup(version.Component)
		if err != nil {
			t.Fatal(err)
		}
		source, err := SourceDir()
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(source, component.Module, "go.mod")
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		file, err := modfile.Parse(path, raw, nil)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(file.Require, func(r *modfile.Require) bool { return r.Mod.Path == "k8s.io/kubernetes" })
		if i < 0 || file.Require[i].Mod.Version != version.Version {
			t.Errorf("%s does not pin Kubernetes %s", path, version.Version)
		}
		if component.LDFlags != kubernetesLDFlags(version.Version) {
			t.Errorf("component %s is not stamped with version %s", component.Name, version.Version)
		}
	}
}

func TestNoProgramHasTwoComponents(t *testing.T) {
	owner := map[string]string{}
	for _, c := range components {
		for _, name := range c.Names() {
			if other, ok := owner[name]; ok {
				t.Errorf("program %s is of both %s and %s", name, other, c.Name)
			}
			owner[name] = c.Name
		}
		for link, program := range c.Links {
			if !slices.Contains(c.Programs, program) {
				t.Errorf("component %s links %s to %s, which it does not build", c.Name, link, program)
			}
		}
	}
}

func TestAProgramIsFoundByEachOfItsNames(t *testing.T) {
	for program, component := range map[string]string{
		"kubectl": "kubernetes", "kube-apiserver": "kubernetes", "etcd": "etcd", "kubeseal": "sealed-secrets", "kustomize": "kubetools",
	} {
		found, err := Providing(program)
		if err != nil || found.Name != component {
			t.Errorf("%s is of %q (%v), not of %s", program, found.Name, err, component)
		}
	}
	if _, err := Providing("no-such-program"); err == nil {
		t.Error("a program that does not exist was found")
	}
}

func TestTheEnvironmentDoesNotDecideWhatIsBuilt(t *testing.T) {
	t.Setenv("GOFLAGS", "-mod=mod")
	t.Setenv("CGO_ENABLED", "1")
	env := environment(Component{})
	if slices.Contains(env, "GOFLAGS=-mod=mod") || slices.Contains(env, "CGO_ENABLED=1") || !slices.Contains(env, "CGO_ENABLED=0") {
		t.Errorf("the caller's Go settings reach the build: %v", env)
	}
}
