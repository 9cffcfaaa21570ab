package cluster

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Lock waits until this process alone holds the lock file, and returns how to let go of it. The kernel lets go of it
// when the process ends, however it ends.
func Lock(path string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make the folder of lock file %s: %w", path, err)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open lock file: %w", err)
	}
	for {
		if err = unix.Flock(int(file.Fd()), unix.LOCK_EX); err != unix.EINTR {
			break
		}
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("wait for lock file %s: %w", path, err)
	}
	return func() { file.Close() }, nil
}

// LockCluster lets one process at a time start or stop the cluster.
func LockCluster(name string) (unlock func(), err error) {
	return Lock(filepath.Join(ClustersDir(), "."+name+".lock"))
}
