package images

import (
	"archive/zip"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const sha = "fbd4e154a6b444229ea002cc209df099209c0adc09102e5fd21239a3d2b55e2d"

func TestAptsAnswerGivesFilesAndHashesInOrder(t *testing.T) {
	out := "'http://mirror.example/pool/z_1.deb' z_1_amd64.deb 9376 SHA256:" + sha + "\n" +
		"'http://mirror.example/pool/a_1%2b2.deb' a_1+2_amd64.deb 1 SHA256:" + sha + "\n"
	got, err := parsePrintedURIs(out)
	check(t, err)
	if len(got) != 2 || got[0].file != "a_1+2_amd64.deb" || got[1].file != "z_1_amd64.deb" || got[1].sha256 != sha {
		t.Errorf("got %+v", got)
	}
}

func TestAPackageWithoutASHA256IsRefused(t *testing.T) {
	if _, err := parsePrintedURIs("'http://mirror.example/a.deb' a_1_amd64.deb 1 MD5Sum:00"); err == nil {
		t.Error("it was accepted")
	}
}

func TestADownloadThatIsNotWhatItsListSaysIsRefused(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a_1_amd64.deb": "something else"})
	err := debianPackage{file: "a_1_amd64.deb", sha256: sha}.check(dir)
	if err == nil || !strings.Contains(err.Error(), "delete it") {
		t.Errorf("got %v", err)
	}
}

func TestLibrariesOfOldAndNewDebianLandInTheSamePlace(t *testing.T) {
	for _, name := range []string{"lib/x86_64-linux-gnu/libc.so.6", "usr/lib/x86_64-linux-gnu/libc.so.6"} {
		if got := mergeUsr(name); got != "usr/lib/x86_64-linux-gnu/libc.so.6" {
			t.Errorf("%s became %s", name, got)
		}
	}
	if got := mergeUsr("libexec/x"); got != "libexec/x" {
		t.Errorf("libexec/x became %s", got)
	}
}

func TestManualsAreLeftOutAndCopyrightNoticesAreKept(t *testing.T) {
	for name, want := range map[string]bool{
		"usr/share/man/man1/x.1.gz":      false,
		"usr/share/doc/libc6/changelog":  false,
		"usr/share/doc/libc6/copyright":  true,
		"usr/lib/x86_64-linux-gnu/libc6": true,
	} {
		if got := wantedFromDeb(name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

func TestAWheelIsUnpackedWithoutItsScripts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p-1-py3-none-any.whl")
	var content bytes.Buffer
	w := zip.NewWriter(&content)
	for _, name := range []string{"p/__init__.py", "p-1.dist-info/RECORD", "p-1.data/purelib/extra.py", "p-1.data/scripts/p"} {
		_, err := w.Create(name)
		check(t, err)
	}
	check(t, w.Close())
	check(t, os.WriteFile(file, content.Bytes(), 0o644))
	tree := NewTree()
	check(t, unpackWheel(file, "/site", tree))
	var files []string
	for _, h := range headersOf(t, archiveOf(t, tree)) {
		if h.FileInfo().Mode().IsRegular() {
			files = append(files, h.Name)
		}
	}
	if got := strings.Join(files, " "); got != "site/extra.py site/p-1.dist-info/RECORD site/p/__init__.py" {
		t.Errorf("got %s", got)
	}
}

func TestAMissingProgramIsNamedWithTheWayToGetIt(t *testing.T) {
	_, err := program{name: "no-such-program-here", install: "apt-get install it"}.run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "apt-get install it") {
		t.Errorf("got %v", err)
	}
}

func TestAFailingProgramIsReportedWithItsOutput(t *testing.T) {
	_, err := program{name: "sh", args: []string{"-c", "echo the reason >&2; exit 3"}}.run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "the reason") {
		t.Errorf("got %v", err)
	}
}

func TestAProgramDoesNotSeeWhatItsCallerWasToldByCargo(t *testing.T) {
	t.Setenv("CARGO_MANIFEST_DIR", "/elsewhere")
	t.Setenv("CARGO_HOME", "/kept")
	out, err := program{name: "sh", args: []string{"-c", `echo "$CARGO_MANIFEST_DIR$CARGO_HOME"`}, unset: []string{"CARGO_MANIFEST_"}}.run(t.Context())
	if err != nil || string(out) != "/kept\n" {
		t.Errorf("the program saw %q, %v", out, err)
	}
}
