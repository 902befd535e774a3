// Pins the module whose CRDs are those of Flux's sources. Its API version is the one that the controllers in ../flux
// are built against. Nothing is built of it, so nothing imports it: `go mod tidy` would take the line away.
module cozystack.io/webhook/hack/control-plane/flux-crds

go 1.26.0

require github.com/fluxcd/source-controller v1.7.2
