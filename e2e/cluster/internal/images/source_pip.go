package images

import (
	"archive/zip"
	"context"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"sort"
	"strings"
)

// pipSource unpacks the wheels that a requirements.txt pins by hash. They are unpacked here instead of by pip's
// installer, which would write this machine's paths into scripts: start programs by `python3 -m`.
type pipSource struct {
	dir    string
	python string
	to     string
}

// wheelPlatforms are what the libraries of python-base can run, the newest first.
var wheelPlatforms = []string{"manylinux_2_34_x86_64", "manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"}

func (s *pipSource) describe() string { return "pip wheels for Python " + s.python }

func (s *pipSource) fingerprint(context.Context) (string, error) {
	hash, err := hashFile(filepath.Join(s.dir, "requirements.txt"))
	return hashStrings(hash, s.python, s.to), err
}

func (s *pipSource) collect(ctx context.Context, work string, tree *Tree) error {
	args := []string{
		"-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes", "--only-binary=:all:",
		"--implementation", "cp", "--python-version", s.python, "--dest", work,
		"--requirement", filepath.Join(s.dir, "requirements.txt"),
	}
	for _, platform := range wheelPlatforms {
		args = append(args, "--platform", platform)
	}
	pip := program{name: "python3", args: args, dir: work, install: "apt-get install python3-pip"}
	if _, err := pip.run(ctx); err != nil {
		return fmt.Errorf("downloading Python wheels: %w", err)
	}
	wheels, err := filepath.Glob(filepath.Join(work, "*.whl"))
	if err != nil {
		return err
	}
	sort.Strings(wheels)
	for _, wheel := range wheels {
		if err := unpackWheel(wheel, s.to, tree); err != nil {
			return fmt.Errorf("unpacking %s: %w", filepath.Base(wheel), err)
		}
	}
	return nil
}

// unpackWheel adds the files of one wheel (PyPA binary distribution format).
func unpackWheel(file, to string, tree *Tree) error {
	wheel, err := zip.OpenReader(file)
	if err != nil {
		return err
	}
	defer wheel.Close()
	for _, member := range wheel.File {
		name, ok := wheelDestination(member.Name)
		if !ok || member.FileInfo().IsDir() {
			continue
		}
		in, err := member.Open()
		if err != nil {
			return err
		}
		content, err := io.ReadAll(in)
		in.Close()
		if err != nil {
			return err
		}
		if err := tree.Bytes(path.Join(to, name), plainMode(member.Mode()), content); err != nil {
			return err
		}
	}
	return nil
}

// wheelDestination gives the place below site-packages of a wheel's member. Of its data folders only the two that
// hold modules are wanted.
func wheelDestination(member string) (string, bool) {
	top, rest, _ := strings.Cut(member, "/")
	if !strings.HasSuffix(top, ".data") {
		return member, true
	}
	scheme, rest, _ := strings.Cut(rest, "/")
	return rest, scheme == "purelib" || scheme == "platlib"
}
