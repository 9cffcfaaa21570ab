// Pins whose schemas the checks and the tests take. Nothing is built from it: no `go mod tidy`, which would empty it.
module sallyport.dev/e2e/crds

go 1.26.0

require (
	github.com/cilium/cilium v1.20.2
	sigs.k8s.io/network-policy-api v0.3.0
)
