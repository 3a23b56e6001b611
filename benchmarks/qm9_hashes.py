"""Canonical hashes of molecules of QM9: what turned copies get, what is there twice, and the time, beside RDKit's."""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from _bench import SEED, finish, progress, start, table
from _data import data_option, file_in
from _molecules import SOURCES, qm9

from canonize import (
    SE,
    Cloud,
    E,
    Product,
    S,
    canonical_hash,
    canonical_hashes,
    canonical_keys,
    duplicates,
    equivalent,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    data_option(parser, "qm9")
    parser.add_argument("--count", type=int, default=10_000, help="molecules (default: 10,000)")
    parser.add_argument("--copies", type=int, default=2000, help="of these are turned and relabelled (default: 2,000)")
    parser.add_argument("--tolerance", type=float, default=1e-3, help="in angstrom (default: 0.001)")
    options = start(parser)
    clouds = [Cloud(pos.double(), z) for pos, z in qm9(options.data, options.count)]
    result = {"benchmark": "qm9_hashes", "count": options.count, "tolerance": options.tolerance}
    result["copies"] = copies(clouds[:: max(1, len(clouds) // options.copies)], options.tolerance)
    result["twice"] = {
        f"{name} {tolerance}": duplicates(clouds, Product(S(), group), tolerance=tolerance)
        for name, group in (("SE3", SE(3)), ("E3", E(3)))
        for tolerance in (options.tolerance, 10 * options.tolerance)
    }
    result["graphs"] = graphs(options.data, options.count)
    rows = [
        [name, str(each["hash"]), str(each["keys"]), str(each["pairs"])]
        for name, each in result["copies"]["of"].items()
    ]
    table("turned copies that differ", ["", "hash", "no common key", "not equivalent"], rows)
    for name, groups in result["twice"].items():
        print(f"twice under S x {name}: {groups}")
    print(result["graphs"])
    finish(options, result, ("rdkit", "canonaut"))


def copies(clouds: list[Cloud], tolerance: float) -> dict[str, object]:
    """How often a turned and relabelled copy has another hash, no common key, or is not called equivalent."""
    group, generator = Product(S(), SE(3)), torch.Generator().manual_seed(SEED)
    begin = time.process_time()
    hashes = [canonical_hash(cloud, group, tolerance=tolerance) for cloud in clouds]
    hashing = (time.process_time() - begin) / len(clouds)
    begin = time.process_time()
    keys = [set(canonical_keys(cloud, group, tolerance=tolerance)) for cloud in clouds]
    keying = (time.process_time() - begin) / len(clouds)
    found = {}
    with progress() as bar:
        task = bar.add_task("copies", total=2 * len(clouds))
        for name, dtype in (("float64", torch.float64), ("float32", torch.float32)):
            missed = {"hash": 0, "keys": 0, "pairs": 0}
            for cloud, told, known in zip(clouds, hashes, keys, strict=True):
                order = torch.randperm(len(cloud.points), generator=generator)
                turn = SE(3).sample(generator=generator, dtype=torch.float64)
                points = (cloud.points[order] @ turn.linear.T + turn.shift).to(dtype)
                copy = Cloud(points, cloud.kinds[order])
                missed["hash"] += canonical_hash(copy, group, tolerance=tolerance) != told
                missed["keys"] += not known & set(canonical_keys(copy, group, tolerance=tolerance))
                missed["pairs"] += not equivalent(cloud, copy, group, tolerance=tolerance)
                bar.advance(task)
            found[name] = missed
    return {
        "clouds": len(clouds),
        "distinct": len(set(hashes)),
        "of": found,
        "seconds": hashing,
        "seconds of keys": keying,
    }


def graphs(data: object, count: int) -> dict[str, object]:
    """The same for the molecules as graphs: hashes against canonical SMILES, and seconds for one molecule."""
    from rdkit import Chem

    from canonize.integrations.rdkit import molecule_graph

    with np.load(file_in(data, "qm9", "qm9_10000.npz", SOURCES)) as arrays:
        molecules = [Chem.MolFromSmiles(word) for word in arrays["smiles"][:count].tolist()]
    molecules = [molecule for molecule in molecules if molecule is not None]
    begin = time.process_time()
    made = [molecule_graph(molecule) for molecule in molecules]
    making = time.process_time() - begin
    begin = time.process_time()
    hashes = canonical_hashes(made, S())
    hashing = time.process_time() - begin
    begin = time.process_time()
    names = [Chem.MolToSmiles(molecule) for molecule in molecules]
    naming = time.process_time() - begin
    turned = [Chem.MolFromSmiles(Chem.MolToSmiles(molecule, doRandom=True)) for molecule in molecules]
    again = canonical_hashes([molecule_graph(molecule) for molecule in turned], S())
    return {
        "molecules": len(molecules),
        "distinct hashes": len(set(hashes)),
        "distinct SMILES": len(set(names)),
        "distinct pairs of both": len({*zip(hashes, names, strict=True)}),
        "rewritten with another hash": sum(one != two for one, two in zip(hashes, again, strict=True)),
        "microseconds": {
            name: 1e6 * seconds / len(molecules)
            for name, seconds in (("graph", making), ("hash", hashing), ("RDKit's canonical SMILES", naming))
        },
    }


if __name__ == "__main__":
    main()
