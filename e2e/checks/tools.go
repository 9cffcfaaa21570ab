package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// tools finds and runs the programs that judge.
type tools struct {
	// root is the checkout.
	root string
	// bin holds the programs; empty means that sallyport-cluster is asked for them.
	bin string
	// paths remembers what sallyport-cluster answered.
	paths map[string]string
}

// cacheDir is the cache that all parts of the project share.
func cacheDir() (string, error) {
	if dir := os.Getenv("XDG_CACHE_HOME"); dir != "" {
		return filepath.Join(dir, "sallyport"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("set HOME or XDG_CACHE_HOME: %w", err)
	}
	return filepath.Join(home, ".cache", "sallyport"), nil
}

func (t *tools) path(program string) (string, error) {
	if t.bin != "" {
		return filepath.Join(t.bin, program), nil
	}
	if path, ok := t.paths[program]; ok {
		return path, nil
	}
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	tool := filepath.Join(cache, "tool", "sallyport-cluster")
	if _, err := os.Stat(tool); err != nil {
		return "", fmt.Errorf("the cluster tool is not built, run `make tool`: %w", err)
	}
	out, err := execute(nil, t.root, tool, "bin", program)
	if err != nil {
		return "", err
	}
	if t.paths == nil {
		t.paths = map[string]string{}
	}
	t.paths[program] = strings.TrimSpace(string(out))
	return t.paths[program], nil
}

// run runs a program in the checkout and returns what it printed on standard output.
func (t *tools) run(stdin []byte, program string, args ...string) ([]byte, error) {
	path, err := t.path(program)
	if err != nil {
		return nil, err
	}
	return execute(stdin, t.root, path, args...)
}

// render prints the children of the endpoints in a file, by the command that users have.
func (t *tools) render(file string) ([]byte, error) {
	return execute(nil, t.root, "cargo", "run", "--quiet", "--bin", "kubectl-mcpe", "--", "render", "-f", file)
}

// execute returns standard output; a failure carries both outputs, as some programs print their findings on one and
// some on the other.
func execute(stdin []byte, dir, path string, args ...string) ([]byte, error) {
	command := exec.Command(path, args...)
	command.Dir = dir
	command.Stdin = bytes.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	err := command.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); ok {
		return stdout.Bytes(), fmt.Errorf("%s %s: %w\n%s%s", filepath.Base(path), strings.Join(args, " "), err, stdout.Bytes(), stderr.Bytes())
	}
	if err != nil {
		return nil, fmt.Errorf("cannot run %s: %w", path, err)
	}
	return stdout.Bytes(), nil
}
