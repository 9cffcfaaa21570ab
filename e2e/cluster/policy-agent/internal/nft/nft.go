// Package nft hands transactions to the kernel by the nft program.
package nft

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// Run executes one transaction (input of `nft -f`): the kernel takes all of it or nothing.
func Run(ctx context.Context, transaction string) error {
	return run(ctx, transaction, "-f", "-")
}

// HasTable says whether a table of family inet is there.
func HasTable(ctx context.Context, table string) bool {
	return run(ctx, "", "list", "table", "inet", table) == nil
}

func run(ctx context.Context, stdin string, args ...string) error {
	cmd := exec.CommandContext(ctx, "nft", args...)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		said := strings.TrimSpace(stderr.String())
		if said == "" {
			said = "is the nftables package installed, and may this process change the network?"
		}
		return fmt.Errorf("nft %s: %w: %s", strings.Join(args, " "), err, said)
	}
	return nil
}
