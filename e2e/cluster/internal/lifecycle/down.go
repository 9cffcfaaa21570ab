package lifecycle

import (
	"errors"
	"fmt"
	"os"
	"time"

	"sallyport.dev/e2e/cluster/internal/cluster"
	"sallyport.dev/e2e/cluster/internal/network"
	"sallyport.dev/e2e/cluster/internal/node"
	"sallyport.dev/e2e/cluster/internal/progress"
)

// stopPatience is how long the components of a control plane may take to end.
const stopPatience = 8 * time.Second

// Down stops a cluster and removes everything that it made on this machine.
func Down(name string) error {
	if err := cluster.CheckName(name); err != nil {
		return err
	}
	if _, err := os.Stat(cluster.StateDir(name)); err != nil {
		progress.Say("there is no cluster %q", name)
		return nil
	}
	unlock, err := cluster.LockCluster(name)
	if err != nil {
		return err
	}
	defer unlock()
	return progress.Do("remove cluster "+name, func() error { return remove(name) })
}

// remove undoes all that starting a cluster did, as far as it came.
func remove(name string) error {
	if err := stop(name); err != nil {
		return err
	}
	if err := os.RemoveAll(cluster.StateDir(name)); err != nil {
		return fmt.Errorf("remove the folder of cluster %q: %w", name, err)
	}
	return nil
}

// stop ends a cluster's processes, and with them everything that the kernel holds for it. Its folder stays.
func stop(name string) error {
	s, err := cluster.Load(name)
	if errors.Is(err, cluster.ErrNoCluster) {
		return nil
	}
	if err != nil {
		return err
	}
	if process, ok := cluster.Running(name); ok {
		if s.Kind == cluster.Node {
			// Nothing inside needs a farewell: with process 1 of the namespaces everything in them ends.
			err = process.Kill()
		} else {
			err = process.Stop(stopPatience)
		}
		if err != nil {
			return err
		}
	}
	if s.Kind != cluster.Node {
		return nil
	}
	return errors.Join(network.Unplug(s.HostInterface()), node.RemoveCgroups(s))
}
