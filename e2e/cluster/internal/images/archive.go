package images

import (
	"encoding/json"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// ociLayoutFile is the marker that the OCI image layout specification asks for.
const ociLayoutFile = `{"imageLayoutVersion":"1.0.0"}`

// WriteArchive writes an OCI image archive, as `ctr images import` reads it. The image gets the name ref there.
// Its digest is the one that it has in a registry.
func WriteArchive(w io.Writer, img v1.Image, ref string) error {
	descriptor, err := partial.Descriptor(img)
	if err != nil {
		return err
	}
	// containerd takes the first for the image's full name, others take the second.
	descriptor.Annotations = map[string]string{"io.containerd.image.name": ref, "org.opencontainers.image.ref.name": ref}
	index, err := json.Marshal(v1.IndexManifest{
		SchemaVersion: 2,
		MediaType:     types.OCIImageIndex,
		Manifests:     []v1.Descriptor{*descriptor},
	})
	if err != nil {
		return err
	}
	tree := NewTree()
	if err := tree.Bytes("oci-layout", 0o644, []byte(ociLayoutFile)); err != nil {
		return err
	}
	if err := tree.Bytes("index.json", 0o644, index); err != nil {
		return err
	}
	if err := addBlobs(tree, img); err != nil {
		return fmt.Errorf("reading the blobs of %s: %w", ref, err)
	}
	return tree.WriteTar(w)
}

func addBlobs(tree *Tree, img v1.Image) error {
	manifest, err := img.RawManifest()
	if err != nil {
		return err
	}
	digest, err := img.Digest()
	if err != nil {
		return err
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return err
	}
	configName, err := img.ConfigName()
	if err != nil {
		return err
	}
	if err := tree.Bytes(blobPath(digest), 0o644, manifest); err != nil {
		return err
	}
	if err := tree.Bytes(blobPath(configName), 0o644, config); err != nil {
		return err
	}
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	for _, layer := range layers {
		digest, err := layer.Digest()
		if err != nil {
			return err
		}
		size, err := layer.Size()
		if err != nil {
			return err
		}
		if err := tree.reader(blobPath(digest), size, layer.Compressed); err != nil {
			return err
		}
	}
	return nil
}

func blobPath(hash v1.Hash) string {
	return "blobs/" + hash.Algorithm + "/" + hash.Hex
}
