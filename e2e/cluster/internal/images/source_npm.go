package images

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// npmSource installs what a package-lock.json pins. No package's script runs: what an image holds is what the
// lock file's hashes stand for.
type npmSource struct {
	dir    string
	copies map[string]string
}

// npmHiddenLock is npm's own note about the installation; it holds the addresses of the builder's registry.
const npmHiddenLock = ".package-lock.json"

func (s *npmSource) describe() string { return "npm ci" }

func (s *npmSource) fingerprint(context.Context) (string, error) {
	parts := sortedPairs(s.copies)
	for _, name := range []string{"package.json", "package-lock.json"} {
		hash, err := hashFile(filepath.Join(s.dir, name))
		if err != nil {
			return "", err
		}
		parts = append(parts, hash)
	}
	return hashStrings(parts...), nil
}

func (s *npmSource) collect(ctx context.Context, work string, tree *Tree) error {
	for _, name := range []string{"package.json", "package-lock.json"} {
		content, err := os.ReadFile(filepath.Join(s.dir, name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(work, name), content, 0o644); err != nil {
			return err
		}
	}
	args := []string{"ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--os=linux", "--cpu=x64", "--libc=glibc"}
	ci := program{name: "npm", args: args, dir: work, install: "apt-get install npm (any version from 10 on)"}
	if _, err := ci.run(ctx); err != nil {
		return fmt.Errorf("installing npm packages: %w", err)
	}
	if len(s.copies) == 0 {
		return tree.HostDir("/app/node_modules", filepath.Join(work, "node_modules"), npmHiddenLock)
	}
	for _, from := range sortedKeys(s.copies) {
		if err := addHostPath(tree, s.copies[from], filepath.Join(work, from)); err != nil {
			return err
		}
	}
	return nil
}
