// Package cnicache learns the addresses of pods from the result cache of libcni, the library by which the container
// runtime calls network plugins. An address is there before the pod's first container starts, and in the API server only
// some time after. (https://pkg.go.dev/github.com/containernetworking/cni/libcni: CacheDir; the runtime names the pod in
// CNI_ARGS.)
package cnicache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/fsnotify/fsnotify"
	"k8s.io/apimachinery/pkg/types"
)

// entry is the part of a cache file that matters here.
type entry struct {
	Args   [][2]string `json:"cniArgs"`
	Result struct {
		IPs []struct {
			Address netip.Prefix `json:"address"`
		} `json:"ips"`
	} `json:"result"`
}

// Read returns the addresses that network plugins have given to pods, by the pods' UIDs. Files that are not complete
// yet, or not of a pod, are passed over.
func Read(dir string) (map[types.UID][]netip.Addr, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read the cache of CNI results: %w", err)
	}
	addrs := map[types.UID][]netip.Addr{}
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(dir, file.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the cache of CNI results: %w", err)
		}
		var e entry
		if json.Unmarshal(text, &e) != nil {
			continue
		}
		if uid := e.podUID(); uid != "" {
			for _, ip := range e.Result.IPs {
				if addr := ip.Address.Addr().Unmap(); !addr.IsLoopback() {
					addrs[uid] = append(addrs[uid], addr)
				}
			}
		}
	}
	return addrs, nil
}

func (e entry) podUID() types.UID {
	for _, arg := range e.Args {
		if arg[0] == "K8S_POD_UID" {
			return types.UID(arg[1])
		}
	}
	return ""
}

// Watch calls changed after every change in the folder, which it makes if it is not there, until the context ends. When
// Watch returns, the watch is in place.
func Watch(ctx context.Context, dir string, changed func()) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("watch the cache of CNI results: %w", err)
	}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch the cache of CNI results: %w", err)
	}
	if err := watcher.Add(dir); err != nil {
		return errors.Join(fmt.Errorf("watch the cache of CNI results in %s: %w", dir, err), watcher.Close())
	}
	go func() {
		defer watcher.Close()
		for {
			select {
			case <-ctx.Done():
				return
			case <-watcher.Events:
				changed()
			case <-watcher.Errors:
				// Events were lost: whatever they said is in the folder.
				changed()
			}
		}
	}()
	return nil
}
