// Package build builds the third-party and own Go programs that a cluster consists of, and keeps them in a cache that
// outlasts the checkout: a build whose inputs are unchanged is never repeated.
package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"sallyport.dev/e2e/cluster/internal/cluster"
	"sallyport.dev/e2e/cluster/internal/progress"
)

// FailedError is a build that did not succeed.
type FailedError struct {
	Component string
	// Log is the file with the compiler's whole output.
	Log string
	// Tail is the end of it.
	Tail string
	Err  error
}

func (e *FailedError) Error() string {
	return fmt.Sprintf("build %s: %v\n%s\nwhole log: %s", e.Component, e.Err, e.Tail, e.Log)
}

func (e *FailedError) Unwrap() error { return e.Err }

// ErrNoSource says that a component's module is not in the checkout.
var ErrNoSource = errors.New("its folder is not in this checkout")

// Ensure returns the folder that holds the programs of a component, after building them if the cache does not have them.
// Several processes may ask for the same component: one builds, the others wait for it.
func Ensure(ctx context.Context, component string) (string, error) {
	c, err := Lookup(component)
	if err != nil {
		return "", err
	}
	in, err := inputsOf(ctx, c)
	if err != nil {
		return "", err
	}
	hash, err := in.hash()
	if err != nil {
		return "", err
	}
	parent := filepath.Join(cluster.CacheDir(), "bin", c.Name)
	dir := filepath.Join(parent, hash)
	if isDir(dir) {
		return dir, nil
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", fmt.Errorf("make the cache of %s: %w", c.Name, err)
	}
	unlock, err := cluster.Lock(filepath.Join(parent, ".lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if isDir(dir) {
		return dir, nil
	}
	return dir, in.build(ctx, dir)
}

// Program returns the path of a program, by any name that it can be started by, after building it if need be.
func Program(ctx context.Context, name string) (string, error) {
	c, err := Providing(name)
	if err != nil {
		return "", err
	}
	dir, err := Ensure(ctx, c.Name)
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, name), nil
}

func inputsOf(ctx context.Context, c Component) (inputs, error) {
	source, err := SourceDir()
	if err != nil {
		return inputs{}, err
	}
	module := filepath.Join(source, c.Module)
	if _, err := os.Stat(filepath.Join(module, "go.mod")); err != nil {
		return inputs{}, fmt.Errorf("build %s from %s: %w", c.Name, module, ErrNoSource)
	}
	version, err := goVersion(ctx)
	if err != nil {
		return inputs{}, err
	}
	return inputs{component: c, module: module, goVersion: version}, nil
}

// goVersion asks the compiler once a process.
func goVersion(ctx context.Context) (string, error) {
	goVersionOnce.Do(func() {
		command := exec.CommandContext(ctx, "go", "env", "GOVERSION")
		command.Env = environment(Component{})
		out, err := command.Output()
		if err != nil {
			goVersionErr = fmt.Errorf("ask Go for its version (is Go installed and in PATH?): %w", err)
		}
		goVersionText = strings.TrimSpace(string(out))
	})
	return goVersionText, goVersionErr
}

var (
	goVersionOnce sync.Once
	goVersionText string
	goVersionErr  error
)

// build writes the programs into a folder beside dir and renames it to dir only when all of it is there.
func (in inputs) build(ctx context.Context, dir string) (err error) {
	c := in.component
	logs := filepath.Join(cluster.CacheDir(), "log")
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return fmt.Errorf("make the folder of build logs: %w", err)
	}
	staging, err := os.MkdirTemp(filepath.Dir(dir), ".building-")
	if err != nil {
		return fmt.Errorf("make a folder to build %s in: %w", c.Name, err)
	}
	defer os.RemoveAll(staging)
	logPath := filepath.Join(logs, "build-"+c.Name+".log")
	log, err := os.Create(logPath)
	if err != nil {
		return fmt.Errorf("open the build log of %s: %w", c.Name, err)
	}
	defer log.Close()

	step := progress.Start("build %s %s", c.Name, estimate(c.Minutes))
	defer func() { step.Done(err) }()
	command := exec.CommandContext(ctx, "go", arguments(c, staging)...)
	command.Dir = in.module
	command.Env = environment(c)
	command.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	counter := &packageCounter{step: step}
	tail := &tailBuffer{}
	command.Stdout = log
	command.Stderr = io.MultiWriter(log, counter, tail)
	if err := command.Run(); err != nil {
		return &FailedError{Component: c.Name, Log: logPath, Tail: tail.String(), Err: err}
	}
	for _, program := range c.Programs {
		if _, err := os.Stat(filepath.Join(staging, program)); err != nil {
			return fmt.Errorf("build %s: the build left no program %q; correct the component's Programs", c.Name, program)
		}
	}
	for link, program := range c.Links {
		if err := os.Symlink(program, filepath.Join(staging, link)); err != nil {
			return fmt.Errorf("link %s to %s: %w", link, program, err)
		}
	}
	if err := os.Chmod(staging, 0o755); err != nil {
		return fmt.Errorf("open the folder of %s for reading: %w", c.Name, err)
	}
	if err := os.Rename(staging, dir); err != nil {
		return fmt.Errorf("keep what was built of %s: %w", c.Name, err)
	}
	return nil
}

func arguments(c Component, out string) []string {
	flags := []string{"-v", "-trimpath", "-buildvcs=false", "-ldflags", strings.TrimSpace("-s -w " + c.LDFlags)}
	if c.Tags != "" {
		flags = append(flags, "-tags", c.Tags)
	}
	if c.TestBinary {
		return append(append([]string{"test", "-c", "-o", filepath.Join(out, c.Programs[0])}, flags...), ".")
	}
	packages := c.Packages
	if len(packages) == 0 {
		packages = []string{"tool"}
	}
	return append(append([]string{"build", "-o", out + "/"}, flags...), packages...)
}

// environment is this process's own, without what would make the same inputs build something else.
func environment(c Component) []string {
	cgo := "0"
	if c.Cgo {
		cgo = "1"
	}
	var env []string
	for _, variable := range os.Environ() {
		switch name, _, _ := strings.Cut(variable, "="); name {
		case "CGO_ENABLED", "GOFLAGS", "GOOS", "GOARCH", "GOWORK":
		default:
			env = append(env, variable)
		}
	}
	return append(env, "CGO_ENABLED="+cgo, "GOWORK=off")
}

func estimate(minutes float64) string {
	if minutes >= 1 {
		return fmt.Sprintf("(once; about %.0f min)", minutes)
	}
	return "(once)"
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// packageCounter shows how many packages `go build -v` has named.
type packageCounter struct {
	step  *progress.Step
	count int
}

func (c *packageCounter) Write(p []byte) (int, error) {
	c.count += bytes.Count(p, []byte("\n"))
	c.step.Note("%d packages", c.count)
	return len(p), nil
}

// tailBuffer keeps the last lines that were written to it.
type tailBuffer struct{ kept []byte }

func (t *tailBuffer) Write(p []byte) (int, error) {
	const keep = 4096
	t.kept = append(t.kept, p...)
	if len(t.kept) > keep {
		t.kept = t.kept[len(t.kept)-keep:]
	}
	return len(p), nil
}

func (t *tailBuffer) String() string {
	lines := strings.Split(strings.TrimRight(string(t.kept), "\n"), "\n")
	if len(lines) > 20 {
		lines = lines[len(lines)-20:]
	}
	return strings.Join(lines, "\n")
}
