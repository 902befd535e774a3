//go:build tools

// Package tools pins the Flux controllers of the test control plane.
package tools

import (
	_ "github.com/fluxcd/helm-controller"
	_ "github.com/fluxcd/kustomize-controller"
)
