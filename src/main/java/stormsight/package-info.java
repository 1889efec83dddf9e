/**
 * Stormsight as a library: open a model, ask it, close it. {@link stormsight.Stormsight} is where to begin. This
 * package is what programs may rely on; the module exports no other. All other packages may change with any version.
 */
package stormsight;
