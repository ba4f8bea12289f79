"""Methods to compare with, by name. Adding one is a new file and one line here."""

from ckf_demo.evaluation.baselines.base import Baseline
from ckf_demo.evaluation.baselines.biased_mf import FoldedBiasedMF
from ckf_demo.evaluation.baselines.biased_mf_likes import LikesBiasedMF
from ckf_demo.evaluation.baselines.boosting import Boosting
from ckf_demo.evaluation.baselines.candidates import CandidateStage
from ckf_demo.evaluation.baselines.ctrl import CTRL
from ckf_demo.evaluation.baselines.ease import EASE
from ckf_demo.evaluation.baselines.ease_likes import LikesEASE
from ckf_demo.evaluation.baselines.folded_bias import FoldedBias
from ckf_demo.evaluation.baselines.gru4rec import GRU4Rec, NextGRU4Rec
from ckf_demo.evaluation.baselines.implicit_als import ImplicitALS
from ckf_demo.evaluation.baselines.item_knn import ItemKNN
from ckf_demo.evaluation.baselines.lightgcn import LightGCN
from ckf_demo.evaluation.baselines.linear import Linear
from ckf_demo.evaluation.baselines.means import GlobalMean, ItemMean
from ckf_demo.evaluation.baselines.morec import MoRec
from ckf_demo.evaluation.baselines.ncf import NCF
from ckf_demo.evaluation.baselines.nextitnet import NextItNet, NextNextItNet
from ckf_demo.evaluation.baselines.popularity import Popularity
from ckf_demo.evaluation.baselines.recent_popularity import RecentPopularity
from ckf_demo.evaluation.baselines.recformer import Recformer
from ckf_demo.evaluation.baselines.sasrec import SASRec
from ckf_demo.evaluation.baselines.sasrec_next import NextSASRec
from ckf_demo.evaluation.baselines.text_knn import TextKNN
from ckf_demo.evaluation.baselines.two_means import TwoMeans

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
