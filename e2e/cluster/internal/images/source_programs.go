package images

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// cargoTargetTriple is what the images' Rust programs are built for. It is glibc, linked statically: Debian ships no
// Rust standard library for musl.
const cargoTargetTriple = "x86_64-unknown-linux-gnu"

// goSource copies a program out of a component that the build package makes and caches.
type goSource struct {
	GoBinary
	build func(ctx context.Context, component string) (dir string, err error)
	file  string
}

func (s *goSource) describe() string { return s.Component + "/" + s.Binary }

func (s *goSource) fingerprint(ctx context.Context) (string, error) {
	dir, err := s.build(ctx, s.Component)
	if err != nil {
		return "", err
	}
	s.file = filepath.Join(dir, s.Binary)
	hash, err := hashFile(s.file)
	return hashStrings(hash, s.To), err
}

func (s *goSource) collect(_ context.Context, _ string, tree *Tree) error {
	return tree.HostFile(s.To, 0o755, s.file)
}

// cargoSource builds a program of the workspace. Cargo itself knows whether there is anything to do, so that it is
// always asked, and the program's own bytes are the fingerprint.
type cargoSource struct {
	CargoBinary
	workspace string
	targetDir string
	step      func(title string) (done func(error))
}

func (s *cargoSource) describe() string { return "cargo " + s.Package + "/" + s.Binary }

func (s *cargoSource) file() string {
	return filepath.Join(s.targetDir, cargoTargetTriple, "release", s.Binary)
}

func (s *cargoSource) fingerprint(ctx context.Context) (string, error) {
	cargo := program{
		name: "cargo",
		args: []string{"build", "--release", "--locked", "--target", cargoTargetTriple, "--package", s.Package, "--bin", s.Binary},
		dir:  s.workspace,
		// The flags come through the environment because only the images want a static program.
		env: []string{"RUSTFLAGS=-C target-feature=+crt-static", "CARGO_TARGET_DIR=" + s.targetDir},
		// Set for what `cargo run` starts; build scripts that look at them would run again, and all that depends on them.
		unset:   []string{"CARGO_MANIFEST_", "CARGO_PKG_"},
		install: "install Rust; rust-toolchain.toml names the version",
	}
	done := s.step("build " + s.Package)
	_, err := cargo.run(ctx)
	done(err)
	if err != nil {
		return "", fmt.Errorf("building %s: %w", s.Package, err)
	}
	hash, err := hashFile(s.file())
	return hashStrings(hash, s.To), err
}

func (s *cargoSource) collect(_ context.Context, _ string, tree *Tree) error {
	return tree.HostFile(s.To, 0o755, s.file())
}

// cSource compiles one C file.
type cSource struct {
	CBinary
	dir string
}

func (s *cSource) describe() string { return "gcc " + s.Source }

func (s *cSource) gcc(args ...string) program {
	return program{name: "gcc", args: args, dir: s.dir, install: "apt-get install gcc libc6-dev"}
}

func (s *cSource) fingerprint(ctx context.Context) (string, error) {
	version, err := s.gcc("-dumpfullversion").run(ctx)
	if err != nil {
		return "", err
	}
	hash, err := hashFile(filepath.Join(s.dir, s.Source))
	return hashStrings(strings.TrimSpace(string(version)), hash, s.To), err
}

func (s *cSource) collect(ctx context.Context, work string, tree *Tree) error {
	out := filepath.Join(work, "program")
	if _, err := s.gcc("-static", "-Os", "-s", "-Wall", "-Werror", "-o", out, s.Source).run(ctx); err != nil {
		return fmt.Errorf("compiling %s: %w", s.Source, err)
	}
	content, err := os.ReadFile(out)
	if err != nil {
		return err
	}
	return tree.Bytes(s.To, 0o755, content)
}
