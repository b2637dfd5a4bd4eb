"""Trees inside a scikit-learn model: their nodes have to point at each other, and at features that rows have.

scikit-learn walks trees in compiled code that checks no index. A type can be reviewed, a file's numbers can't; so each
tree that was read is checked before a row meets it. A child after its parent also means that every walk ends.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from perennial_bundle.errors import InvalidBundle

_NO_BOUND = 2**31
_LEAF = -1


def check_trees(model: Any) -> None:
    """Check all trees that a model holds.

    Raises
    ------
    InvalidBundle
        A tree points outside of itself, or to a feature that rows don't have.
    """
    from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
    from sklearn.neighbors import BallTree, KDTree
    from sklearn.tree._tree import Tree

    for part, n_features in _walk(model):
        if isinstance(part, Tree):
            _check_tree(part, n_features)
        elif isinstance(part, TreePredictor):
            _check_predictor(part, n_features)
        elif isinstance(part, BallTree | KDTree):
            _check_neighbours(part)


def _walk(model: Any) -> Iterator[tuple[Any, int]]:
    """Yield every part once, with the number of features of the rows that reach it."""
    from sklearn.ensemble._bagging import BaseBagging
    from sklearn.ensemble._forest import BaseForest
    from sklearn.ensemble._gb import BaseGradientBoosting

    # These hand rows to their trees without asking the trees how many features they want.
    unchecked = (BaseBagging, BaseForest, BaseGradientBoosting)
    stack: list[tuple[Any, int, bool]] = [(model, _NO_BOUND, False)]
    seen: set[tuple[int, int]] = set()
    while stack:
        part, bound, is_strict = stack.pop()
        if (id(part), bound) in seen:
            continue
        seen.add((id(part), bound))
        yield part, bound
        if isinstance(part, dict):
            children = list(part.values())
        elif isinstance(part, list | tuple | set):
            children = list(part)
        elif isinstance(part, np.ndarray):
            children = part.ravel().tolist() if part.dtype.hasobject else []
        else:
            children = list(getattr(part, "__dict__", {}).values())
            own = getattr(part, "__dict__", {}).get("n_features_in_")
            if own is not None:
                if not isinstance(own, int | np.integer):
                    raise InvalidBundle(f"{type(part).__name__}.n_features_in_ isn't a number")
                bound = min(bound, int(own)) if is_strict else int(own)
            is_strict = isinstance(part, unchecked)
        stack.extend((child, bound, is_strict) for child in children if _may_hold_trees(child))


def _may_hold_trees(part: Any) -> bool:
    return not isinstance(part, str | bytes | int | float | None)


def _check_tree(tree: Any, n_features: int) -> None:
    count = int(tree.node_count)
    if not 0 < count <= int(tree.capacity):
        raise InvalidBundle(f"the model holds a tree of {count} nodes with room for {tree.capacity}")
    left, right = np.asarray(tree.children_left), np.asarray(tree.children_right)
    splits = left != _LEAF
    _check_children(left[splits], right[splits], np.flatnonzero(splits), count)
    _check_features(np.asarray(tree.feature)[splits], min(n_features, int(tree.n_features)))


def _check_predictor(predictor: Any, n_features: int) -> None:
    nodes, bitsets = predictor.nodes, predictor.raw_left_cat_bitsets
    try:
        splits = np.flatnonzero(nodes["is_leaf"] == 0)
        inner = nodes[splits]
        _check_children(inner["left"], inner["right"], splits, len(nodes))
        _check_features(inner["feature_idx"], n_features)
        used = inner["bitset_idx"][inner["is_categorical"] != 0]
    except (IndexError, ValueError, TypeError) as error:
        raise InvalidBundle(f"the model holds a tree whose nodes can't be read: {error}") from error
    if not len(nodes) or (used.size and int(used.max()) >= len(bitsets)):
        raise InvalidBundle("the model holds a tree that points at categories outside of it")


def _check_children(
    left: npt.NDArray[Any], right: npt.NDArray[Any], own: npt.NDArray[Any], count: int
) -> None:
    for children in (left.astype(np.int64), right.astype(np.int64)):
        if bool(((children <= own) | (children >= count)).any()):
            raise InvalidBundle("the model holds a tree whose nodes point back, or outside of it")


def _check_features(features: npt.NDArray[Any], n_features: int) -> None:
    if features.size and not 0 <= int(features.min()) <= int(features.max()) < n_features:
        raise InvalidBundle(
            f"the model holds a tree that asks for a feature beyond the {n_features} of its rows"
        )


def _check_neighbours(tree: Any) -> None:
    data, index, nodes, bounds, _, _, n_nodes, *_ = tree.__getstate__()
    inner = np.flatnonzero(nodes["is_leaf"] == 0)
    sound = (
        len(nodes) == n_nodes
        and bounds.shape[1] == n_nodes
        and bounds.shape[2] == data.shape[1]
        and len(index) == len(data)
        and bool(((index >= 0) & (index < len(data))).all())
        and bool(((nodes["idx_start"] >= 0) & (nodes["idx_end"] <= len(data))).all())
        and (not inner.size or 2 * int(inner.max()) + 2 < n_nodes)
    )
    if not sound:
        raise InvalidBundle("the model holds a tree of neighbours that points outside of it")
