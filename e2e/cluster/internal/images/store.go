package images

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"sallyport.dev/e2e/cluster/internal/cluster"
)

// store keeps built images by the hash of their inputs: `<dir>/<name>/<key>` is an OCI image layout. The layouts share
// one folder of blobs, so that a base's layers lie on the disk once.
type store struct {
	dir string
}

// lookup gives a stored image, or false where there is none.
func (s store) lookup(name, key string) (v1.Image, bool, error) {
	path := s.path(name, key)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	img, err := readLayout(path)
	if err != nil {
		return nil, false, fmt.Errorf("the cached image %s cannot be read; delete %s and try again: %w", name, path, err)
	}
	return img, true, nil
}

// put writes an image and gives it back as it was stored. Readers see all of it or nothing.
func (s store) put(name, key string, img v1.Image) (v1.Image, error) {
	parent := filepath.Join(s.dir, name)
	blobs := filepath.Join(s.dir, "blobs")
	for _, dir := range []string{parent, blobs} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	building, err := os.MkdirTemp(parent, ".building-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(building)
	if err := os.Symlink("../../blobs", filepath.Join(building, "blobs")); err != nil {
		return nil, err
	}
	written, err := layout.Write(building, empty.Index)
	if err != nil {
		return nil, err
	}
	if err := written.AppendImage(img); err != nil {
		return nil, err
	}
	if err := os.Rename(building, s.path(name, key)); err != nil {
		return nil, err
	}
	return readLayout(s.path(name, key))
}

func (s store) path(name, key string) string {
	return filepath.Join(s.dir, name, key)
}

// lock keeps other processes from building at the same time, until the function that it gives is called.
func (s store) lock() (unlock func(), err error) {
	return cluster.Lock(filepath.Join(s.dir, ".lock"))
}

// readLayout gives the one image of a layout.
func readLayout(path string) (v1.Image, error) {
	index, err := layout.ImageIndexFromPath(path)
	if err != nil {
		return nil, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	if len(manifest.Manifests) != 1 {
		return nil, fmt.Errorf("%s holds %d images instead of one", path, len(manifest.Manifests))
	}
	return index.Image(manifest.Manifests[0].Digest)
}
