package images

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func archiveOf(t *testing.T, tree *Tree) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := tree.WriteTar(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func headersOf(t *testing.T, archive []byte) []*tar.Header {
	t.Helper()
	var headers []*tar.Header
	in := tar.NewReader(bytes.NewReader(archive))
	for {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			return headers
		}
		check(t, err)
		headers = append(headers, header)
	}
}

func TestTheOrderOfInsertionDoesNotShowInTheArchive(t *testing.T) {
	forth, back := NewTree(), NewTree()
	check(t, forth.Bytes("/a/x", 0o644, []byte("x")))
	check(t, forth.Symlink("/b", "a/x"))
	check(t, back.Symlink("/b", "a/x"))
	check(t, back.Bytes("/a/x", 0o644, []byte("x")))
	if !bytes.Equal(archiveOf(t, forth), archiveOf(t, back)) {
		t.Fatal("two trees with the same content gave different archives")
	}
}

func TestEveryEntryBelongsToRootAndIsAsOldAsTheEpoch(t *testing.T) {
	dir := t.TempDir()
	check(t, os.MkdirAll(filepath.Join(dir, "sub"), 0o700))
	check(t, os.WriteFile(filepath.Join(dir, "sub", "program"), []byte("#!"), 0o700))
	check(t, os.WriteFile(filepath.Join(dir, "note"), []byte("hello"), 0o600))
	tree := NewTree()
	check(t, tree.HostDir("/opt", dir))

	want := map[string]int64{"opt/": 0o755, "opt/note": 0o644, "opt/sub/": 0o755, "opt/sub/program": 0o755}
	headers := headersOf(t, archiveOf(t, tree))
	if len(headers) != len(want) {
		t.Fatalf("got %d entries, want %d", len(headers), len(want))
	}
	for _, h := range headers {
		if h.Mode != want[h.Name] {
			t.Errorf("%s has the mode %o, want %o", h.Name, h.Mode, want[h.Name])
		}
		if h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.ModTime.Unix() != 0 {
			t.Errorf("%s tells who built it or when: uid %d, gid %d, uname %q, time %v", h.Name, h.Uid, h.Gid, h.Uname, h.ModTime)
		}
	}
}

func TestParentsComeBeforeTheirChildren(t *testing.T) {
	tree := NewTree()
	check(t, tree.Bytes("/usr/lib/a", 0o644, nil))
	check(t, tree.Bytes("/usr/lib-b", 0o644, nil))
	seen := map[string]bool{"./": true}
	for _, h := range headersOf(t, archiveOf(t, tree)) {
		if parent := filepath.Dir(filepath.Clean(h.Name)) + "/"; !seen[parent] {
			t.Errorf("%s comes before %s", h.Name, parent)
		}
		seen[h.Name] = true
	}
}

func TestNeitherSetuidNorSetgidSurvives(t *testing.T) {
	tree := NewTree()
	check(t, tree.Bytes("/bin/su", 0o6755, nil))
	for _, h := range headersOf(t, archiveOf(t, tree)) {
		if h.Mode&0o6000 != 0 {
			t.Errorf("%s has the mode %o", h.Name, h.Mode)
		}
	}
}

func TestAFileCannotLieBelowASymbolicLink(t *testing.T) {
	tree := NewTree()
	check(t, tree.Symlink("/lib", "usr/lib"))
	if err := tree.Bytes("/lib/libc.so.6", 0o644, nil); err == nil {
		t.Fatal("a file below a symbolic link was accepted; the layer would replace the link by a folder")
	}
}

func TestAPathCannotLeaveTheImage(t *testing.T) {
	tree := NewTree()
	check(t, tree.Bytes("../../etc/passwd", 0o644, nil))
	headers := headersOf(t, archiveOf(t, tree))
	if last := headers[len(headers)-1].Name; last != "etc/passwd" {
		t.Fatalf("the path became %q", last)
	}
}
