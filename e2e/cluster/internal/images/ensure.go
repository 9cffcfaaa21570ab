package images

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"sallyport.dev/e2e/cluster/internal/build"
	"sallyport.dev/e2e/cluster/internal/cluster"
	"sallyport.dev/e2e/cluster/internal/progress"
)

// FromCheckout gives a builder of the definitions in the checkout that [build.SourceDir] finds, with the tool's cache
// and with progress on standard error.
func FromCheckout() (*Builder, error) {
	if runtime.GOARCH != architecture {
		return nil, fmt.Errorf("the images are for %s, and this machine is %s: build them on an %[1]s machine", architecture, runtime.GOARCH)
	}
	source, err := build.SourceDir()
	if err != nil {
		return nil, err
	}
	cache := cluster.CacheDir()
	return NewBuilder(Options{
		Definitions: filepath.Join(source, "..", "images"),
		CacheDir:    filepath.Join(cache, "images"),
		Workspace:   filepath.Join(source, "..", ".."),
		CargoTarget: filepath.Join(cache, "target"),
		GoComponent: build.Ensure,
		Step: func(title string) func(error) {
			return progress.Start("%s", title).Done
		},
	})
}

// Ensure gives an image, after building it if the cache does not have it.
func Ensure(ctx context.Context, name string) (*Image, error) {
	builder, err := FromCheckout()
	if err != nil {
		return nil, err
	}
	return builder.Build(ctx, name)
}

// Archive writes an image, after building it if need be, as an OCI archive for `ctr images import`, in which it is
// called ref (registry, name and tag in full).
func Archive(ctx context.Context, name, ref, file string) error {
	img, err := Ensure(ctx, name)
	if err != nil {
		return err
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer out.Close()
	if err := WriteArchive(out, img, ref); err != nil {
		return fmt.Errorf("writing image %s to %s: %w", name, file, err)
	}
	return out.Close()
}
