package build

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// SourceVariable names the environment variable that says where the sources (the folder e2e/cluster) are.
const SourceVariable = "SALLYPORT_CLUSTER_SOURCE"

const modulePath = "sallyport.dev/e2e/cluster"

// SourceDir finds the folder e2e/cluster, whose modules the components are built from: what SourceVariable says, else
// the checkout that holds the working directory, else the checkout that this tool was built from.
func SourceDir() (string, error) {
	if dir := os.Getenv(SourceVariable); dir != "" {
		if !isSource(dir) {
			return "", errors.New(SourceVariable + " does not name the folder e2e/cluster of a checkout: " + dir)
		}
		return dir, nil
	}
	if wd, err := os.Getwd(); err == nil {
		for dir := wd; ; dir = filepath.Dir(dir) {
			for _, candidate := range []string{dir, filepath.Join(dir, "e2e", "cluster")} {
				if isSource(candidate) {
					return candidate, nil
				}
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	if _, file, _, ok := runtime.Caller(0); ok {
		if dir := filepath.Join(filepath.Dir(file), "..", ".."); isSource(dir) {
			return dir, nil
		}
	}
	return "", errors.New("cannot find the sources: run this inside a checkout, or set " + SourceVariable + " to its folder e2e/cluster")
}

func isSource(dir string) bool {
	raw, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	return err == nil && strings.HasPrefix(string(raw), "module "+modulePath+"\n")
}
