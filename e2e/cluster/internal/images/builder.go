package images

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/stream"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// layerFormat is part of every image's key: raise it when the same inputs are to give other bytes.
const layerFormat = "1"

// architecture is what all images are for, in Go's and the OCI's words. The Node base pins it.
const architecture = "amd64"

// descriptionLabel is the pre-defined annotation key of the OCI image specification, used as a label too.
const descriptionLabel = "org.opencontainers.image.description"

// Options says where a [Builder] finds and leaves things.
type Options struct {
	// Definitions is the folder that holds `<name>/image.yaml`.
	Definitions string
	// CacheDir is where built images and downloads are kept.
	CacheDir string
	// Workspace is the folder of the Cargo workspace.
	Workspace string
	// CargoTarget is Cargo's target folder.
	CargoTarget string
	// GoComponent builds a component of `e2e/cluster/binaries` if needed and gives the folder of its programs.
	GoComponent func(ctx context.Context, component string) (dir string, err error)
	// Step is told when something begins that takes time; it gives the function to call at its end. Nil: nobody is told.
	Step func(title string) (done func(error))
}

// Builder makes images of definitions, without a container runtime.
type Builder struct {
	catalog     *Catalog
	store       store
	cacheDir    string
	workspace   string
	cargoTarget string
	goComponent func(ctx context.Context, component string) (dir string, err error)
	step        func(title string) (done func(error))
}

// NewBuilder reads the definitions. It fails on the first that is not valid.
func NewBuilder(o Options) (*Builder, error) {
	catalog, err := LoadCatalog(o.Definitions)
	if err != nil {
		return nil, err
	}
	if o.Step == nil {
		o.Step = func(string) func(error) { return func(error) {} }
	}
	return &Builder{
		catalog:     catalog,
		store:       store{dir: o.CacheDir},
		cacheDir:    o.CacheDir,
		workspace:   o.Workspace,
		cargoTarget: o.CargoTarget,
		goComponent: o.GoComponent,
		step:        o.Step,
	}, nil
}

// Catalog gives the definitions.
func (b *Builder) Catalog() *Catalog { return b.catalog }

// Image is a built image.
type Image struct {
	v1.Image
	Name string
	// Tag is the tag that the definition asks for.
	Tag string
}

// Build gives the image of that name: from the cache if none of its inputs has changed.
func (b *Builder) Build(ctx context.Context, name string) (*Image, error) {
	chain, err := b.catalog.chain(name)
	if err != nil {
		return nil, err
	}
	var img v1.Image = empty.Image
	baseKey := scratch
	for _, definition := range chain {
		if img, baseKey, err = b.buildOne(ctx, definition, img, baseKey); err != nil {
			return nil, fmt.Errorf("image %s: %w", definition.Name, err)
		}
	}
	return &Image{Image: img, Name: name, Tag: chain[len(chain)-1].Tag}, nil
}

// buildOne puts one definition's layers on its base, unless that is stored already. It gives the key under which the
// result is stored.
func (b *Builder) buildOne(ctx context.Context, d Definition, base v1.Image, baseKey string) (v1.Image, string, error) {
	sources := b.sources(d)
	key, err := keyOf(ctx, d, baseKey, sources)
	if err != nil {
		return nil, "", err
	}
	if img, ok, err := b.store.lookup(d.Name, key); ok || err != nil {
		return img, key, err
	}
	unlock, err := b.store.lock()
	if err != nil {
		return nil, "", err
	}
	defer unlock()
	// Another process may have built it while this one waited.
	if img, ok, err := b.store.lookup(d.Name, key); ok || err != nil {
		return img, key, err
	}
	work, err := os.MkdirTemp(b.store.dir, ".work-")
	if err != nil {
		return nil, "", err
	}
	defer os.RemoveAll(work)
	img, err := b.assemble(ctx, d, base, sources, work)
	if err != nil {
		return nil, "", err
	}
	img, err = b.store.put(d.Name, key, img)
	return img, key, err
}

// assemble gives an image whose new layers are written when it is stored; until then the folder work must stay.
func (b *Builder) assemble(ctx context.Context, d Definition, base v1.Image, sources []source, work string) (v1.Image, error) {
	// The process is described first: the configuration of an image whose layers are not written yet cannot be read.
	img, err := configure(base, d)
	if err != nil {
		return nil, err
	}
	var layers []mutate.Addendum
	for i, s := range sources {
		own := filepath.Join(work, strconv.Itoa(i))
		if err := os.Mkdir(own, 0o755); err != nil {
			return nil, err
		}
		done := b.step("image " + d.Name + ": " + shorten(s.describe()))
		tree := NewTree()
		err := s.collect(ctx, own, tree)
		done(err)
		if err != nil {
			return nil, err
		}
		layers = append(layers, layerOf(tree, s.describe()))
	}
	return mutate.Append(img, layers...)
}

// keyOf hashes everything that an image is made of.
func keyOf(ctx context.Context, d Definition, baseKey string, sources []source) (string, error) {
	parts := []string{layerFormat, baseKey, d.Description, d.User, d.WorkingDir, strings.Join(d.Entrypoint, "\x00")}
	parts = append(parts, sortedPairs(d.Env)...)
	for _, s := range sources {
		fingerprint, err := s.fingerprint(ctx)
		if err != nil {
			return "", err
		}
		parts = append(parts, s.describe(), fingerprint)
	}
	return hashStrings(parts...)[:12], nil
}

// shorten makes a description fit a line of progress.
func shorten(description string) string {
	const width = 60
	if len(description) <= width {
		return description
	}
	return description[:width-3] + "..."
}

// layerOf gives a layer that is written, compressed and hashed in one pass when the image is stored.
func layerOf(tree *Tree, createdBy string) mutate.Addendum {
	reader, writer := io.Pipe()
	go func() { writer.CloseWithError(tree.WriteTar(writer)) }()
	return mutate.Addendum{
		Layer:   stream.NewLayer(reader, stream.WithMediaType(types.OCILayer)),
		History: v1.History{CreatedBy: createdBy},
	}
}

// configure sets what the definition says about the process. Nothing in it depends on when or where it is built.
func configure(img v1.Image, d Definition) (v1.Image, error) {
	img = mutate.MediaType(img, types.OCIManifestSchema1)
	img = mutate.ConfigMediaType(img, types.OCIConfigJSON)
	file, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.Architecture, file.OS = architecture, "linux"
	file.Config.Env = mergeEnv(file.Config.Env, d.Env)
	file.Config.Labels = map[string]string{descriptionLabel: d.Description}
	if len(d.Entrypoint) > 0 {
		file.Config.Entrypoint = d.Entrypoint
	}
	if d.User != "" {
		file.Config.User = d.User
	}
	if d.WorkingDir != "" {
		file.Config.WorkingDir = d.WorkingDir
	}
	return mutate.ConfigFile(img, file)
}

// mergeEnv sets variables in a list of "NAME=value", which it keeps sorted.
func mergeEnv(inherited []string, set map[string]string) []string {
	merged := map[string]string{}
	for _, pair := range inherited {
		name, value, _ := strings.Cut(pair, "=")
		merged[name] = value
	}
	for name, value := range set {
		merged[name] = value
	}
	return sortedPairs(merged)
}
