package images

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strings"
)

// source is one origin of an image's content. It becomes one layer.
type source interface {
	// describe names the source and its version in a few words, for progress and for the image's history.
	describe() string
	// fingerprint identifies the content that collect would give, as cheaply as that can be known.
	fingerprint(ctx context.Context) (string, error)
	// collect puts the content into tree. work is an empty folder that lives until the layer is written.
	collect(ctx context.Context, work string, tree *Tree) error
}

// sources lists what a definition asks for, in the order of its layers: what changes least comes first.
func (b *Builder) sources(d Definition) []source {
	var list []source
	if len(d.Debian) > 0 {
		list = append(list, &debianSource{packages: d.Debian, cache: filepath.Join(b.cacheDir, "debs")})
	}
	if d.Npm != nil {
		list = append(list, &npmSource{dir: d.Dir, copies: d.Npm.Copy})
	}
	if d.Pip != nil {
		list = append(list, &pipSource{dir: d.Dir, python: d.Pip.Python, to: d.Pip.To})
	}
	if d.GoBinary != nil {
		list = append(list, &goSource{GoBinary: *d.GoBinary, build: b.goComponent})
	}
	for _, binary := range d.CargoBinaries {
		list = append(list, &cargoSource{CargoBinary: binary, workspace: b.workspace, targetDir: b.cargoTarget, step: b.step})
	}
	if d.CBinary != nil {
		list = append(list, &cSource{CBinary: *d.CBinary, dir: d.Dir})
	}
	if len(d.Files) > 0 || len(d.Directories) > 0 {
		list = append(list, &filesSource{dir: d.Dir, files: d.Files, directories: d.Directories})
	}
	return list
}

// ProgramError is the failure of a program that a source runs.
type ProgramError struct {
	// Program is the command line.
	Program string
	// Output is the end of what it wrote.
	Output string
	Err    error
}

func (e *ProgramError) Error() string {
	return fmt.Sprintf("%s: %v\n%s", e.Program, e.Err, e.Output)
}

func (e *ProgramError) Unwrap() error { return e.Err }

// program is a command line that a source needs.
type program struct {
	name string
	args []string
	dir  string
	// env is added to the environment, less the variables that unset names (by their beginnings).
	env   []string
	unset []string
	// install says how to get the program where it is missing.
	install string
}

// run gives what the program wrote to its standard output.
func (p program) run(ctx context.Context) ([]byte, error) {
	cmd := exec.CommandContext(ctx, p.name, p.args...)
	cmd.Dir = p.dir
	cmd.Env = append(slices.DeleteFunc(os.Environ(), p.unsets), p.env...)
	var stdout, all bytes.Buffer
	cmd.Stdout = io.MultiWriter(&stdout, &all)
	cmd.Stderr = &all
	err := cmd.Run()
	if errors.Is(err, exec.ErrNotFound) {
		return nil, fmt.Errorf("%s is not installed: %s", p.name, p.install)
	}
	if err != nil {
		line := strings.Join(append([]string{p.name}, p.args...), " ")
		return nil, &ProgramError{Program: line, Output: tail(all.String(), 4000), Err: err}
	}
	return stdout.Bytes(), nil
}

// unsets tells whether the program must not see an environment variable.
func (p program) unsets(variable string) bool {
	return slices.ContainsFunc(p.unset, func(beginning string) bool { return strings.HasPrefix(variable, beginning) })
}

// tail gives the end of s, at most n bytes of it.
func tail(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return "..." + s[len(s)-n:]
}

// hashFile gives the SHA-256 of a file in hex.
func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// hashStrings gives the SHA-256 over strings, each framed by its length.
func hashStrings(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// sortedPairs writes a map as "key=value" items in the keys' order.
func sortedPairs(m map[string]string) []string {
	pairs := make([]string, 0, len(m))
	for key, value := range m {
		pairs = append(pairs, key+"="+value)
	}
	sort.Strings(pairs)
	return pairs
}

// sortedKeys lists the keys of a map in their order.
func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}
