// Command policy-agent enforces NetworkPolicies (networking.k8s.io/v1) on the node whose network namespace it runs in.
// It expects a network plugin that routes every packet between pods (ptp, not a bridge).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"sallyport.dev/e2e/cluster/policy-agent/internal/agent"
	"sallyport.dev/e2e/cluster/policy-agent/internal/mode"
	"sallyport.dev/e2e/cluster/policy-agent/internal/nft"
	"sallyport.dev/e2e/cluster/policy-agent/internal/ruleset"
	"sallyport.dev/e2e/cluster/policy-agent/internal/watch"
)

const modePollInterval = 200 * time.Millisecond

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "policy-agent:", err)
		os.Exit(1)
	}
}

func run() error {
	kubeconfig := flag.String("kubeconfig", "", "kubeconfig of a user that may list and watch pods, namespaces and networkpolicies")
	podCIDR := flag.String("pod-cidr", "", "address ranges of pods, comma separated; an address in them that no known pod has is refused")
	cniCache := flag.String("cni-cache", "", "folder in which libcni keeps results (/var/lib/cni/results): tells the addresses of pods before the API server does")
	modeFile := flag.String("mode-file", "", "file that holds `on`, `off` or `lag 5s`, and may change at any time (default: on)")
	flag.Parse()
	podCIDRs, err := parsePrefixes(*podCIDR)
	if err != nil {
		return err
	}
	if flag.NArg() > 0 {
		return fmt.Errorf("unknown argument %q: all settings are flags (see -help)", flag.Arg(0))
	}

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))

	initial, err := mode.Read(*modeFile)
	if err != nil {
		return err
	}
	if initial == (mode.Mode{}) && !nft.HasTable(ctx, ruleset.Table) {
		// Nothing is known yet, so nothing passes: pods that start before the first list is complete are not open.
		if err := nft.Run(ctx, ruleset.Ruleset{PodCIDRs: podCIDRs}.Nftables()); err != nil {
			return err
		}
	}

	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return fmt.Errorf("--kubeconfig: %w", err)
	}
	config.UserAgent = "policy-agent"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("--kubeconfig: %w", err)
	}
	watcher, err := watch.Start(ctx, client, *cniCache)
	if err != nil {
		return err
	}

	modes := make(chan mode.Mode)
	if *modeFile != "" {
		go mode.Watch(ctx, *modeFile, modePollInterval, initial, modes, func(err error) {
			log.Error("the mode stays as it is", "error", err)
		})
	}
	a := agent.Agent{Snapshot: watcher.Snapshot, Run: nft.Run, PodCIDRs: podCIDRs, Log: log}
	a.Loop(ctx, initial, modes, watcher.Changes())
	return nil
}

func parsePrefixes(list string) ([]netip.Prefix, error) {
	if list == "" {
		return nil, errors.New("--pod-cidr is required: the ranges that pod addresses are taken from, such as 10.244.0.0/16")
	}
	var prefixes []netip.Prefix
	for _, text := range strings.Split(list, ",") {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("--pod-cidr: %w", err)
		}
		prefixes = append(prefixes, prefix.Masked())
	}
	return prefixes, nil
}
