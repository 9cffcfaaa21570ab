package images

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"sallyport.dev/e2e/cluster/internal/cluster"
)

// repositoryPrefix is the path in a registry below which the images lie.
const repositoryPrefix = "sallyport/"

// References maps the names of images to references by digest.
type References map[string]string

// Registry is where images are pushed to.
type Registry struct {
	// Address is where this machine reaches it, such as 172.30.0.2:5000 or registry.example/team.
	Address string
	// PulledAs is how the cluster's nodes name it. Empty: like Address.
	PulledAs string
	// PlainHTTP allows pushing without TLS. Loopback addresses never need TLS.
	PlainHTTP bool
}

// Push puts an image into the registry under its tag and gives the reference by digest under which it is pulled.
// Credentials are those that `docker login` leaves (~/.docker/config.json).
func (r Registry) Push(ctx context.Context, img *Image) (string, error) {
	var options []name.Option
	if r.PlainHTTP {
		options = append(options, name.Insecure)
	}
	tag, err := name.NewTag(r.Address+"/"+repositoryPrefix+img.Name+":"+img.Tag, options...)
	if err != nil {
		return "", fmt.Errorf("registry address %q: %w", r.Address, err)
	}
	if err := remote.Write(tag, img, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
		return "", fmt.Errorf("pushing %s: %w", tag, err)
	}
	digest, err := img.Digest()
	if err != nil {
		return "", err
	}
	host := r.PulledAs
	if host == "" {
		host = r.Address
	}
	return host + "/" + repositoryPrefix + img.Name + "@" + digest.String(), nil
}

// MergeInto adds the references to those that file holds, as a JSON object. Several processes may do so at once.
func (r References) MergeInto(file string) error {
	unlock, err := cluster.Lock(file + ".lock")
	if err != nil {
		return err
	}
	defer unlock()
	merged := References{}
	content, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	default:
		if err := json.Unmarshal(content, &merged); err != nil {
			return fmt.Errorf("%s is no JSON object of image references; delete it and load again: %w", file, err)
		}
	}
	for image, ref := range r {
		merged[image] = ref
	}
	content, err = json.MarshalIndent(merged, "", "  ")
	if err != nil {
		return err
	}
	written := filepath.Join(filepath.Dir(file), ".images.json.new")
	if err := os.WriteFile(written, append(content, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(written, file)
}
