//go:build soak

package acceptance

// soaking says that the tests run at full length.
const soaking = true
