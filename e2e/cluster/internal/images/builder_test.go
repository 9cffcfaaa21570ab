package images

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// write makes files below dir; the keys are their paths.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		file := filepath.Join(dir, name)
		check(t, os.MkdirAll(filepath.Dir(file), 0o755))
		check(t, os.WriteFile(file, []byte(content), 0o644))
	}
}

// twoImages defines an image `upper` on an image `lower`.
var twoImages = map[string]string{
	"lower/image.yaml": `
description: The lower one.
base: scratch
files: {greeting: /etc/greeting}
directories: {/tmp: "1777"}
env: {PATH: /bin, LANG: C}
user: "65532:65532"
`,
	"lower/greeting": "hello\n",
	"upper/image.yaml": `
description: The upper one.
base: lower
tag: v1
goBinary: {component: tool, binary: program, to: /bin/program}
env: {LANG: C.UTF-8}
entrypoint: [/bin/program, --serve]
`,
}

// newTestBuilder gives a builder with an empty cache, and the list of steps that it has taken.
func newTestBuilder(t *testing.T, definitions string) (*Builder, *[]string) {
	t.Helper()
	programs := t.TempDir()
	write(t, programs, map[string]string{"program": "#!"})
	var steps []string
	builder, err := NewBuilder(Options{
		Definitions: definitions,
		CacheDir:    t.TempDir(),
		GoComponent: func(_ context.Context, component string) (string, error) {
			if component != "tool" {
				return "", errors.New("no such component")
			}
			return programs, nil
		},
		Step: func(title string) func(error) {
			steps = append(steps, title)
			return func(error) {}
		},
	})
	check(t, err)
	return builder, &steps
}

func digestOf(t *testing.T, b *Builder, image string) string {
	t.Helper()
	img, err := b.Build(t.Context(), image)
	check(t, err)
	digest, err := img.Digest()
	check(t, err)
	return digest.String()
}

func TestTheSameInputsGiveTheSameDigestFromEmptyCaches(t *testing.T) {
	definitions := t.TempDir()
	write(t, definitions, twoImages)
	first, _ := newTestBuilder(t, definitions)
	second, _ := newTestBuilder(t, definitions)
	one, two := digestOf(t, first, "upper"), digestOf(t, second, "upper")
	if one != two {
		t.Fatalf("%s and then %s", one, two)
	}
}

func TestABuiltImageIsValid(t *testing.T) {
	definitions := t.TempDir()
	write(t, definitions, twoImages)
	builder, _ := newTestBuilder(t, definitions)
	img, err := builder.Build(t.Context(), "upper")
	check(t, err)
	check(t, validate.Image(img))
}

func TestAnImageInheritsFromItsBaseWhatItDoesNotSet(t *testing.T) {
	definitions := t.TempDir()
	write(t, definitions, twoImages)
	builder, _ := newTestBuilder(t, definitions)
	img, err := builder.Build(t.Context(), "upper")
	check(t, err)
	file, err := img.ConfigFile()
	check(t, err)
	if got := strings.Join(file.Config.Env, " "); got != "LANG=C.UTF-8 PATH=/bin" {
		t.Errorf("env is %q", got)
	}
	if file.Config.User != "65532:65532" {
		t.Errorf("user is %q", file.Config.User)
	}
	if len(file.RootFS.DiffIDs) != 2 {
		t.Errorf("there are %d layers, want the base's and its own", len(file.RootFS.DiffIDs))
	}
}

func TestAnUnchangedImageComesFromTheCache(t *testing.T) {
	definitions := t.TempDir()
	write(t, definitions, twoImages)
	builder, steps := newTestBuilder(t, definitions)
	before := digestOf(t, builder, "upper")
	*steps = nil
	if after := digestOf(t, builder, "upper"); after != before {
		t.Errorf("the cache gave %s instead of %s", after, before)
	}
	if len(*steps) > 0 {
		t.Errorf("it was built again: %v", *steps)
	}
}

func TestAChangeOfAnyInputGivesAnotherImage(t *testing.T) {
	changes := map[string]map[string]string{
		"a file of the base":      {"lower/greeting": "goodbye\n"},
		"the base's environment":  {"lower/image.yaml": strings.Replace(twoImages["lower/image.yaml"], "PATH: /bin", "PATH: /sbin", 1)},
		"a directory's mode":      {"lower/image.yaml": strings.Replace(twoImages["lower/image.yaml"], "1777", "0755", 1)},
		"the entrypoint":          {"upper/image.yaml": strings.Replace(twoImages["upper/image.yaml"], "--serve", "--listen", 1)},
		"where the program lies":  {"upper/image.yaml": strings.Replace(twoImages["upper/image.yaml"], "to: /bin/program", "to: /program", 1)},
		"the user":                {"lower/image.yaml": strings.Replace(twoImages["lower/image.yaml"], "65532:65532", "1:1", 1)},
		"the words that describe": {"upper/image.yaml": strings.Replace(twoImages["upper/image.yaml"], "The upper", "An upper", 1)},
	}
	for what, change := range changes {
		t.Run(what, func(t *testing.T) {
			definitions := t.TempDir()
			write(t, definitions, twoImages)
			builder, _ := newTestBuilder(t, definitions)
			before := digestOf(t, builder, "upper")
			write(t, definitions, change)
			catalog, err := LoadCatalog(definitions)
			check(t, err)
			builder.catalog = catalog
			if after := digestOf(t, builder, "upper"); after == before {
				t.Errorf("changing %s left the digest as it was", what)
			}
		})
	}
}

func TestAPushedImageIsPulledByTheDigestOfTheReference(t *testing.T) {
	definitions := t.TempDir()
	write(t, definitions, twoImages)
	builder, _ := newTestBuilder(t, definitions)
	img, err := builder.Build(t.Context(), "upper")
	check(t, err)
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	address := strings.TrimPrefix(server.URL, "http://")

	ref, err := Registry{Address: address, PulledAs: "registry.example:5000"}.Push(t.Context(), img)
	check(t, err)
	path, found := strings.CutPrefix(ref, "registry.example:5000/")
	if !found {
		t.Fatalf("the reference is %s", ref)
	}
	digest, err := name.NewDigest(address + "/" + path)
	check(t, err)
	pulled, err := remote.Image(digest)
	check(t, err)
	check(t, validate.Image(pulled))
	tag, err := name.NewTag(address + "/sallyport/upper:v1")
	check(t, err)
	tagged, err := remote.Head(tag)
	check(t, err)
	if tagged.Digest.String() != digest.DigestStr() {
		t.Errorf("the tag names %s", tagged.Digest)
	}
}

func TestAnArchiveHoldsTheImageWithItsDigest(t *testing.T) {
	definitions := t.TempDir()
	write(t, definitions, twoImages)
	builder, _ := newTestBuilder(t, definitions)
	img, err := builder.Build(t.Context(), "upper")
	check(t, err)
	var archive bytes.Buffer
	check(t, WriteArchive(&archive, img, "registry.example/upper:v1"))

	unpacked := t.TempDir()
	for _, member := range readTar(t, &archive) {
		write(t, unpacked, map[string]string{member.name: member.content})
	}
	read, err := readLayout(unpacked)
	check(t, err)
	check(t, validate.Image(read))
	want, err := img.Digest()
	check(t, err)
	got, err := read.Digest()
	check(t, err)
	if got != want {
		t.Errorf("the archive holds %s instead of %s", got, want)
	}
}

func TestMergingReferencesKeepsTheOthers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "images.json")
	check(t, References{"a": "r/a@sha256:1", "b": "r/b@sha256:2"}.MergeInto(file))
	check(t, References{"b": "r/b@sha256:3"}.MergeInto(file))
	content, err := os.ReadFile(file)
	check(t, err)
	var got References
	check(t, json.Unmarshal(content, &got))
	if len(got) != 2 || got["a"] != "r/a@sha256:1" || got["b"] != "r/b@sha256:3" {
		t.Errorf("the file holds %v", got)
	}
}

type tarMember struct{ name, content string }

func readTar(t *testing.T, archive io.Reader) []tarMember {
	t.Helper()
	content, err := io.ReadAll(archive)
	check(t, err)
	tree := tar.NewReader(bytes.NewReader(content))
	var members []tarMember
	for {
		header, err := tree.Next()
		if errors.Is(err, io.EOF) {
			return members
		}
		check(t, err)
		if !header.FileInfo().Mode().IsRegular() {
			continue
		}
		body, err := io.ReadAll(tree)
		check(t, err)
		members = append(members, tarMember{name: header.Name, content: string(body)})
	}
}
