// Package agent decides when which ruleset is in force.
package agent

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"sallyport.dev/e2e/cluster/policy-agent/internal/mode"
	"sallyport.dev/e2e/cluster/policy-agent/internal/policy"
	"sallyport.dev/e2e/cluster/policy-agent/internal/ruleset"
)

// retryDelay is how soon a transaction that the kernel refused is tried again.
const retryDelay = time.Second

// Agent brings the kernel's filter in line with the API server's objects.
type Agent struct {
	// Snapshot returns the current objects.
	Snapshot func() (policy.Snapshot, error)
	// Run executes one nftables transaction.
	Run func(ctx context.Context, transaction string) error
	// PodCIDRs are the ranges in which an unknown address is a pod that is just starting.
	PodCIDRs []netip.Prefix
	Log      *slog.Logger
}

// pending is a transaction that waits for its time.
type pending struct {
	due         time.Time
	transaction string
	summary     []any
}

// Loop runs until the context ends, and leaves the last filter in force. The first ruleset is put in force at once,
// whatever the mode's lag is.
func (a *Agent) Loop(ctx context.Context, m mode.Mode, modes <-chan mode.Mode, changes <-chan struct{}) {
	var queue []pending
	latest := ""
	timer := time.NewTimer(0)
	defer timer.Stop()

	schedule := func(lag time.Duration) {
		next := a.compile(m)
		if next.transaction == latest {
			return
		}
		latest = next.transaction
		next.due = time.Now().Add(lag)
		queue = append(queue, next)
	}
	switchTo := func(next mode.Mode) {
		m, queue, latest = next, nil, ""
		a.Log.Info("mode", "mode", m.String())
		schedule(0)
	}

	switchTo(m)
	for {
		queue = a.runDue(ctx, queue)
		if len(queue) > 0 {
			timer.Reset(time.Until(queue[0].due))
		}
		select {
		case <-ctx.Done():
			return
		case next := <-modes:
			switchTo(next)
		case <-changes:
			schedule(m.Lag)
		case <-timer.C:
		}
	}
}

// runDue executes the newest transaction that is due, if any, and returns those that are not due yet. One that fails
// stays in the queue for later, unless a newer one waits.
func (a *Agent) runDue(ctx context.Context, queue []pending) []pending {
	due := 0
	for due < len(queue) && !queue[due].due.After(time.Now()) {
		due++
	}
	if due == 0 {
		return queue
	}
	newest, rest := queue[due-1], queue[due:]
	started := time.Now()
	if err := a.Run(ctx, newest.transaction); err != nil {
		a.Log.Error("the kernel refused the filter; the former one stays in force", "error", err, "retry", retryDelay)
		if len(rest) == 0 {
			newest.due = time.Now().Add(retryDelay)
			return []pending{newest}
		}
		return rest
	}
	a.Log.Info("filter in force", append(newest.summary, "took", time.Since(started).Round(time.Millisecond))...)
	return rest
}

// compile returns the transaction that the mode asks for.
func (a *Agent) compile(m mode.Mode) pending {
	if m.Off {
		return pending{transaction: ruleset.Removal, summary: []any{"pods", 0, "isolated", 0, "policies", 0}}
	}
	snapshot, err := a.Snapshot()
	if err != nil {
		a.Log.Error("read the objects", "error", err)
	}
	rules, err := policy.Compile(snapshot)
	if err != nil {
		a.Log.Warn("parts of policies are not understood; they allow nothing", "error", err)
	}
	rules.PodCIDRs = a.PodCIDRs
	if m.Lag > 0 {
		rules.Unknown = ruleset.PassUnknown
	}
	isolated := 0
	for _, pod := range rules.Pods {
		if len(pod.Egress)+len(pod.Ingress) > 0 {
			isolated++
		}
	}
	return pending{
		transaction: rules.Nftables(),
		summary:     []any{"pods", len(rules.Pods), "isolated", isolated, "policies", len(snapshot.Policies)},
	}
}
