package build

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// inputs is everything that decides what a build's output is.
type inputs struct {
	component Component
	// module is the absolute path of the module's folder.
	module string
	// goVersion is the compiler's version, as in "go1.26.8".
	goVersion string
}

// hash is twelve hexadecimal digits that change when any input changes.
func (in inputs) hash() (string, error) {
	c := in.component
	h := sha256.New()
	fmt.Fprintln(h, in.goVersion, runtime.GOOS, runtime.GOARCH, c.Packages, c.Programs, c.Cgo, c.Tags, c.LDFlags, c.TestBinary)
	err := filepath.WalkDir(in.module, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name := entry.Name(); path != in.module && (name == "testdata" || strings.HasPrefix(name, ".")) {
				return filepath.SkipDir
			}
			return nil
		}
		if !entry.Type().IsRegular() || !isInput(entry.Name(), c.TestBinary) {
			return nil
		}
		relative, err := filepath.Rel(in.module, path)
		if err != nil {
			return err
		}
		fmt.Fprintln(h, filepath.ToSlash(relative))
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		_, err = io.Copy(h, file)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("hash the sources of %s in %s: %w", c.Name, in.module, err)
	}
	return hex.EncodeToString(h.Sum(nil))[:12], nil
}

// isInput tells whether a file can change the build: a document or a test cannot.
func isInput(name string, testBinary bool) bool {
	if strings.HasSuffix(name, "_test.go") {
		return testBinary
	}
	return !strings.HasPrefix(name, ".") && filepath.Ext(name) != ".md"
}
