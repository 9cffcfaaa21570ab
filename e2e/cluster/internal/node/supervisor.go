package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// startTimeout is how long a component may take until it does its work.
	startTimeout = 90 * time.Second
	probePause   = 50 * time.Millisecond
	// stopTimeout is how long a component may take to end when asked to. Nothing that it would save is ever read again.
	stopTimeout = time.Second
	// A component that ends although nobody asked it to is started again after a pause that doubles, within these bounds.
	minRestartPause = 500 * time.Millisecond
	maxRestartPause = 15 * time.Second
)

// selfProgram is this tool itself.
const selfProgram = "/proc/self/exe"

// service is one component: a program that runs as long as the cluster does.
type service struct {
	name    string
	program string
	args    []string
	env     []string
	// after names the components that must be ready before this one starts.
	after []string
	// ready tells whether the component does its work. Nil: it does as soon as it runs.
	ready probe
	// ownNetwork starts the program in a new network namespace.
	ownNetwork bool
	// started is called with the number of each new process.
	started func(pid int) error
}

// Phase is how far a component is.
type Phase string

const (
	Waiting    Phase = "waiting"    // for other components
	Starting   Phase = "starting"   // it runs, but does not do its work yet
	Ready      Phase = "ready"      // it does its work
	Restarting Phase = "restarting" // it ended although nobody asked it to
	Failed     Phase = "failed"     // it never did its work; it is not tried again
)

// ServiceStatus is what can be told about a component.
type ServiceStatus struct {
	Name     string `json:"name"`
	Phase    Phase  `json:"phase"`
	PID      int    `json:"pid,omitempty"`
	Restarts int    `json:"restarts"`
	// Reason says why the component is not ready.
	Reason string `json:"reason,omitempty"`
	// Log is the file with what it printed.
	Log string `json:"log"`
}

// supervisor runs services and starts them again when they end.
type supervisor struct {
	logs string
	log  *slog.Logger

	mu      sync.Mutex
	running []*running
}

// running is a service under supervision.
type running struct {
	service
	cancel  context.CancelFunc
	becomes chan struct{} // closed when ready for the first time
	ended   chan struct{} // closed when supervision has ended

	mu     sync.Mutex
	status ServiceStatus
}

// start puts a service under supervision until ctx ends or stop is called.
func (v *supervisor) start(ctx context.Context, s service) *running {
	ctx, cancel := context.WithCancel(ctx)
	r := &running{
		service: s, cancel: cancel, becomes: make(chan struct{}), ended: make(chan struct{}),
		status: ServiceStatus{Name: s.name, Phase: Waiting, Log: filepath.Join(v.logs, s.name+".log")},
	}
	v.mu.Lock()
	v.running = append(v.running, r)
	v.mu.Unlock()
	go func() {
		defer close(r.ended)
		v.supervise(ctx, r)
	}()
	return r
}

// stop ends a service and forgets it.
func (v *supervisor) stop(name string) error {
	v.mu.Lock()
	i := slices.IndexFunc(v.running, func(r *running) bool { return r.name == name })
	if i < 0 {
		v.mu.Unlock()
		return fmt.Errorf("no component %q", name)
	}
	r := v.running[i]
	v.running = slices.Delete(v.running, i, i+1)
	v.mu.Unlock()
	r.cancel()
	<-r.ended
	return nil
}

// statuses tells about every service, in the order of their start.
func (v *supervisor) statuses() []ServiceStatus {
	v.mu.Lock()
	defer v.mu.Unlock()
	all := make([]ServiceStatus, len(v.running))
	for i, r := range v.running {
		r.mu.Lock()
		all[i] = r.status
		r.mu.Unlock()
	}
	return all
}

func (v *supervisor) find(name string) *running {
	v.mu.Lock()
	defer v.mu.Unlock()
	if i := slices.IndexFunc(v.running, func(r *running) bool { return r.name == name }); i >= 0 {
		return v.running[i]
	}
	return nil
}

func (v *supervisor) supervise(ctx context.Context, r *running) {
	for _, name := range r.after {
		r.explain("waits for " + name)
		other := v.find(name)
		if other == nil {
			v.fail(r, fmt.Errorf("it must start after %q, which this cluster does not have", name))
			return
		}
		select {
		case <-other.becomes:
		case <-ctx.Done():
			return
		}
	}
	for pause := minRestartPause; ; pause = min(2*pause, maxRestartPause) {
		begun := time.Now()
		err := v.runOnce(ctx, r)
		if ctx.Err() != nil {
			return
		}
		select {
		case <-r.becomes:
		default:
			v.fail(r, err)
			return
		}
		if time.Since(begun) > time.Minute {
			pause = minRestartPause
		}
		v.log.Warn("component ended and is started again", "component", r.name, "error", err, "pause", pause)
		r.update(func(s *ServiceStatus) {
			s.Phase, s.PID, s.Reason = Restarting, 0, err.Error()
			s.Restarts++
		})
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

func (v *supervisor) fail(r *running, err error) {
	v.log.Error("component failed", "component", r.name, "error", err)
	r.update(func(s *ServiceStatus) { s.Phase, s.PID, s.Reason = Failed, 0, err.Error() })
}

// runOnce starts the program and waits until it ends. It always returns an error: the program is not meant to end.
func (v *supervisor) runOnce(ctx context.Context, r *running) error {
	log, err := os.OpenFile(filepath.Join(v.logs, r.name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("open its log: %w", err)
	}
	defer log.Close()
	command := exec.Command(r.program, r.args...)
	command.Stdout, command.Stderr = log, log
	command.Env = append(os.Environ(), r.env...)
	command.SysProcAttr = &unix.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}
	if r.ownNetwork {
		command.SysProcAttr.Cloneflags = unix.CLONE_NEWNET
	}
	if err := command.Start(); err != nil {
		return fmt.Errorf("start it: %w", err)
	}
	r.update(func(s *ServiceStatus) { s.Phase, s.PID, s.Reason = Starting, command.Process.Pid, "" })
	exited := make(chan error, 1)
	go func() { exited <- command.Wait() }()
	if r.started != nil {
		if err := r.started(command.Process.Pid); err != nil {
			end(command.Process, exited)
			return err
		}
	}
	if err := v.awaitReady(ctx, r, exited); err != nil {
		end(command.Process, exited)
		return err
	}
	r.update(func(s *ServiceStatus) { s.Phase, s.Reason = Ready, "" })
	select {
	case <-r.becomes:
	default:
		close(r.becomes)
		v.log.Info("component ready", "component", r.name)
	}
	select {
	case err := <-exited:
		return ended(err)
	case <-ctx.Done():
		end(command.Process, exited)
		return ctx.Err()
	}
}

// awaitReady asks the component until it does its work, ends, or has taken too long.
func (v *supervisor) awaitReady(ctx context.Context, r *running, exited chan error) error {
	if r.ready == nil {
		return nil
	}
	timeout := time.After(startTimeout)
	for {
		err := r.ready(ctx)
		if err == nil {
			return nil
		}
		r.explain(err.Error())
		select {
		case err := <-exited:
			exited <- err // for end
			return ended(err)
		case <-timeout:
			return fmt.Errorf("it runs, but was not ready within %s: %w", startTimeout, err)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(probePause):
		}
	}
}

// end asks a process to end, then makes it.
func end(process *os.Process, exited <-chan error) {
	_ = process.Signal(unix.SIGTERM)
	select {
	case <-exited:
	case <-time.After(stopTimeout):
		_ = process.Kill()
		<-exited
	}
}

func ended(err error) error {
	if err == nil {
		return errors.New("it ended without an error")
	}
	return fmt.Errorf("it ended: %w", err)
}

func (r *running) update(change func(*ServiceStatus)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.status)
}

func (r *running) explain(reason string) {
	r.update(func(s *ServiceStatus) { s.Reason = reason })
}

func (r *running) snapshot() ServiceStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}
