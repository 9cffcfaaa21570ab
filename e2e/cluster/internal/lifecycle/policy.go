package lifecycle

import (
	"fmt"
	"os"

	"sallyport.dev/e2e/cluster/internal/cluster"
)

// SetPolicy tells the cluster's policy agent what to do. It takes effect within a fraction of a second.
func SetPolicy(name string, mode cluster.PolicyMode) error {
	path := cluster.PolicyModeFile(name)
	if err := os.WriteFile(path+".new", []byte(string(mode)+"\n"), 0o644); err != nil {
		return fmt.Errorf("tell the policy agent: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("tell the policy agent: %w", err)
	}
	return nil
}
