package images

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
	"time"
)

// Tree is the content of one image layer, held by path.
//
// Everything that could differ from one build to the next and does not matter to a program is left out: owner, times
// and the order of insertion. Equal trees therefore give byte-equal archives.
type Tree struct {
	entries map[string]entry
}

// entry is one path of a Tree. Its type flag decides which of the other fields are meaningful.
type entry struct {
	typeflag byte
	mode     int64
	linkname string
	size     int64
	open     func() (io.ReadCloser, error)
}

// permissionBits are what is kept of a file's mode: permissions and the sticky bit, but neither setuid nor setgid,
// which no container may use anyway (allowPrivilegeEscalation: false).
const permissionBits = 0o1777

// NewTree returns an empty tree.
func NewTree() *Tree {
	return &Tree{entries: map[string]entry{}}
}

// Len is the number of paths in the tree, directories included.
func (t *Tree) Len() int {
	return len(t.entries)
}

// Dir adds a directory, or sets the mode of one that is there.
func (t *Tree) Dir(name string, mode fs.FileMode) error {
	return t.put(name, entry{typeflag: tar.TypeDir, mode: int64(mode)})
}

// Symlink adds a symbolic link.
func (t *Tree) Symlink(name, target string) error {
	return t.put(name, entry{typeflag: tar.TypeSymlink, mode: 0o777, linkname: target})
}

// Bytes adds a regular file that holds content.
func (t *Tree) Bytes(name string, mode fs.FileMode, content []byte) error {
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }
	return t.put(name, entry{typeflag: tar.TypeReg, mode: int64(mode), size: int64(len(content)), open: open})
}

// reader adds a regular file whose content open gives.
func (t *Tree) reader(name string, size int64, open func() (io.ReadCloser, error)) error {
	return t.put(name, entry{typeflag: tar.TypeReg, mode: 0o644, size: size, open: open})
}

// HostFile adds a copy of the file that hostPath names. The file is read when the layer is written.
func (t *Tree) HostFile(name string, mode fs.FileMode, hostPath string) error {
	info, err := os.Stat(hostPath)
	if err != nil {
		return err
	}
	open := func() (io.ReadCloser, error) { return os.Open(hostPath) }
	return t.put(name, entry{typeflag: tar.TypeReg, mode: int64(mode), size: info.Size(), open: open})
}

// HostDir adds a copy of everything below hostDir, except the paths (relative to hostDir) that skip names. Modes are
// reduced to 0755 and 0644, so that the umask of whoever builds does not show.
func (t *Tree) HostDir(name, hostDir string, skip ...string) error {
	skipped := map[string]bool{}
	for _, s := range skip {
		skipped[s] = true
	}
	return filepath.WalkDir(hostDir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(hostDir, p)
		if err != nil {
			return err
		}
		if skipped[rel] {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		to := path.Join(name, filepath.ToSlash(rel))
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			return t.Dir(to, 0o755)
		case d.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(p)
			if err != nil {
				return err
			}
			return t.Symlink(to, target)
		case d.Type().IsRegular():
			return t.HostFile(to, plainMode(info.Mode()), p)
		default:
			return fmt.Errorf("%s is neither a file, a directory nor a symbolic link: an image cannot hold it", p)
		}
	})
}

// plainMode reduces a mode to what matters of it: executable or not.
func plainMode(mode fs.FileMode) fs.FileMode {
	if mode&0o111 != 0 {
		return 0o755
	}
	return 0o644
}

// put records an entry and, with mode 0755, the parents that it lacks. A later entry replaces an earlier one.
func (t *Tree) put(name string, e entry) error {
	clean := strings.TrimPrefix(path.Clean("/"+name), "/")
	if clean == "" {
		return nil
	}
	for dir := path.Dir(clean); dir != "."; dir = path.Dir(dir) {
		parent, ok := t.entries[dir]
		if ok && parent.typeflag != tar.TypeDir {
			return fmt.Errorf("/%s cannot lie below /%s, which is not a directory in this layer", clean, dir)
		}
		if !ok {
			t.entries[dir] = entry{typeflag: tar.TypeDir, mode: 0o755}
		}
	}
	e.mode &= permissionBits
	t.entries[clean] = e
	return nil
}

// WriteTar writes the tree as a tar archive: sorted, owned by root, all times at the epoch.
func (t *Tree) WriteTar(w io.Writer) error {
	names := make([]string, 0, len(t.entries))
	for name := range t.entries {
		names = append(names, name)
	}
	sort.Strings(names)
	out := tar.NewWriter(w)
	for _, name := range names {
		if err := writeEntry(out, name, t.entries[name]); err != nil {
			return fmt.Errorf("writing /%s into the layer: %w", name, err)
		}
	}
	return out.Close()
}

func writeEntry(out *tar.Writer, name string, e entry) error {
	if e.typeflag == tar.TypeDir {
		name += "/"
	}
	header := &tar.Header{
		Typeflag: e.typeflag,
		Name:     name,
		Linkname: e.linkname,
		Size:     e.size,
		Mode:     e.mode,
		ModTime:  time.Unix(0, 0),
	}
	if err := out.WriteHeader(header); err != nil {
		return err
	}
	if e.typeflag != tar.TypeReg {
		return nil
	}
	content, err := e.open()
	if err != nil {
		return err
	}
	defer content.Close()
	_, err = io.Copy(out, content)
	return err
}
