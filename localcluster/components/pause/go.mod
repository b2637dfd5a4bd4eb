// The program of the local cluster's own tiny image; it has no dependency.
module perennial.dev/localcluster/pause

go 1.24.0
