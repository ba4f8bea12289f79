"""Methods to compare with, by name. A new one is a file and one line here."""

from ckf_demo.baselines.base import Baseline
from ckf_demo.baselines.biased_mf import FoldedBiasedMF, LikesBiasedMF
from ckf_demo.baselines.boosting import Boosting
from ckf_demo.baselines.candidates import CandidateStage
from ckf_demo.baselines.ctrl import CTRL
from ckf_demo.baselines.ease import EASE, LikesEASE
from ckf_demo.baselines.implicit_als import ImplicitALS
from ckf_demo.baselines.item_knn import ItemKNN
from ckf_demo.baselines.lightgcn import LightGCN
from ckf_demo.baselines.linear import Linear
from ckf_demo.baselines.means import FoldedBias, GlobalMean, ItemMean, TwoMeans
from ckf_demo.baselines.morec import MoRec
from ckf_demo.baselines.ncf import NCF
from ckf_demo.baselines.next_items import NextGRU4Rec, NextNextItNet, NextSASRec
from ckf_demo.baselines.popularity import Popularity, RecentPopularity
from ckf_demo.baselines.recformer import Recformer
from ckf_demo.baselines.sequential import GRU4Rec, NextItNet, SASRec
from ckf_demo.baselines.text_knn import TextKNN

BASELINES: dict[str, type[Baseline]] = {
    baseline.name: baseline
    for baseline in (
        GlobalMean,
        ItemMean,
        TwoMeans,
        FoldedBias,
        FoldedBiasedMF,
        LikesBiasedMF,
        ItemKNN,
        EASE,
        LikesEASE,
        Popularity,
        RecentPopularity,
        ImplicitALS,
        TextKNN,
        CandidateStage,
        Linear,
        Boosting,
        NCF,
        LightGCN,
        SASRec,
        NextSASRec,
        GRU4Rec,
        NextGRU4Rec,
        NextItNet,
        NextNextItNet,
        MoRec,
        CTRL,
        Recformer,
    )
}
