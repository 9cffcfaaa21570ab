// Package mode reads the agent's switch: a file that tests write while the agent runs.
package mode

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"
)

// Mode is what the agent does with policies. Its zero value is `on`.
type Mode struct {
	// Off means that nobody enforces policies.
	Off bool
	// Lag is how late every change takes effect; until then, addresses of new pods are open.
	Lag time.Duration
}

// Parse reads `on`, `off` or `lag DURATION`. Empty text is `on`.
func Parse(text string) (Mode, error) {
	switch fields := strings.Fields(text); {
	case len(fields) == 0, len(fields) == 1 && fields[0] == "on":
		return Mode{}, nil
	case len(fields) == 1 && fields[0] == "off":
		return Mode{Off: true}, nil
	case len(fields) == 2 && fields[0] == "lag":
		lag, err := time.ParseDuration(fields[1])
		if err != nil {
			return Mode{}, fmt.Errorf("lag: %w", err)
		}
		if lag <= 0 {
			return Mode{}, fmt.Errorf("lag %s: the duration must be positive; write `on` for no lag", fields[1])
		}
		return Mode{Lag: lag}, nil
	default:
		return Mode{}, fmt.Errorf("%q is no mode: write `on`, `off` or `lag 5s`", strings.TrimSpace(text))
	}
}

func (m Mode) String() string {
	switch {
	case m.Off:
		return "off"
	case m.Lag > 0:
		return "lag " + m.Lag.String()
	default:
		return "on"
	}
}

// Read reads the mode from a file; a file that does not exist is `on`.
func Read(path string) (Mode, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Mode{}, nil
	}
	if err != nil {
		return Mode{}, err
	}
	m, err := Parse(string(text))
	if err != nil {
		return Mode{}, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// Watch polls the file and sends every mode that differs from the one before, the first being what initial is not. It
// returns when the context ends. What it cannot read is reported once and leaves the mode as it is.
func Watch(ctx context.Context, path string, every time.Duration, initial Mode, changes chan<- Mode, report func(error)) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	current, reported := initial, ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		next, err := Read(path)
		if err != nil {
			if err.Error() != reported {
				reported = err.Error()
				report(err)
			}
			continue
		}
		reported = ""
		if next != current {
			current = next
			select {
			case changes <- next:
			case <-ctx.Done():
				return
			}
		}
	}
}
