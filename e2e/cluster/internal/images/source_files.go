package images

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// filesSource copies files of the definition's folder and makes empty directories.
type filesSource struct {
	dir         string
	files       map[string]string
	directories map[string]string
}

func (s *filesSource) describe() string {
	var paths []string
	for _, to := range s.files {
		paths = append(paths, to)
	}
	for dir := range s.directories {
		paths = append(paths, dir+"/")
	}
	sort.Strings(paths)
	return "files " + strings.Join(paths, " ")
}

func (s *filesSource) fingerprint(context.Context) (string, error) {
	parts := sortedPairs(s.directories)
	for _, pair := range sortedPairs(s.files) {
		parts = append(parts, pair)
	}
	for _, from := range sortedKeys(s.files) {
		err := filepath.WalkDir(filepath.Join(s.dir, from), func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			hash, err := hashFile(p)
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(s.dir, p)
			parts = append(parts, rel, plainMode(info.Mode()).String(), hash)
			return err
		})
		if err != nil {
			return "", err
		}
	}
	return hashStrings(parts...), nil
}

func (s *filesSource) collect(_ context.Context, _ string, tree *Tree) error {
	for _, from := range sortedKeys(s.files) {
		if err := addHostPath(tree, s.files[from], filepath.Join(s.dir, from)); err != nil {
			return err
		}
	}
	for _, dir := range sortedKeys(s.directories) {
		mode, err := strconv.ParseUint(s.directories[dir], 8, 16)
		if err != nil {
			return err
		}
		if err := tree.Dir(dir, fs.FileMode(mode)); err != nil {
			return err
		}
	}
	return nil
}

// addHostPath adds a file or a folder of the host.
func addHostPath(tree *Tree, to, from string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return tree.HostDir(to, from)
	}
	return tree.HostFile(to, plainMode(info.Mode()), from)
}
