"""Failures of scikit-learn's tests that are right for fastgd, each with its reason."""

_DTYPE = "coef_ is float64 for float32 X too: with columns or targets far from zero float32 coefficients lose digits"
_TEXT = "the test asks for the words of scikit-learn's warning or error; fastgd warns in its own"
_OWN = "about a parameter or deprecation of scikit-learn's own that fastgd does not have"
_STATE = "about attributes that scikit-learn keeps for its own use"
_DENSE = "sparse rows are made dense: no intercept decay, no errors about sparse indices"
_EPOCHS = "counts iterations of coordinate descent or SGD; fastgd's solver needs others"
_ROWS = "rows are drawn or held out by fastgd's generator, not by scikit-learn's"
_PRECISE = "the fit is closer to the optimum than the test expects, or ends where scikit-learn's solver would not"

#: Reason by test: a pattern of ``file::test[parameters]`` in which * stands for anything.
DEFENDED: dict[str, str] = {
    # float32
    "test_coordinate_descent.py::test_enet_float_precision": _DTYPE,
    "test_logistic.py::test_dtype_match*": _DTYPE,
    "test_ridge.py::test_dtype_match*": _DTYPE,
    "test_sgd.py::test_sgd_dtype_match*": _DTYPE,
    "test_ridge.py::test_ridge_array_api_compliance*float32*": _DTYPE,
    "test_logistic.py::test_logistic_regression_array_api_compliance*float32*": _DTYPE,
    # Words
    "test_logistic.py::test_max_iter*": _TEXT,
    "test_coordinate_descent.py::test_enet_nonfinite_params": _TEXT,
    "test_sgd.py::test_sgd_failing_penalty_validation*": _TEXT,
    # Parameters of scikit-learn's own
    "test_coordinate_descent.py::test_lasso_alpha_warning": _OWN,
    "test_coordinate_descent.py::test_elasticnet_precompute_incorrect_gram": _OWN,
    "test_coordinate_descent.py::test_overridden_gram_matrix": _OWN,
    "test_coordinate_descent.py::test_check_input_false": _OWN,
    "test_base.py::test_inplace_data_preprocessing*": "copy_X=False: fastgd never writes to X",
    "test_coordinate_descent.py::test_enet_copy_X_False_check_input_False": "copy_X=False: fastgd never writes to X",
    "test_logistic.py::test_elasticnet_l1_ratio_err_helpful*": _OWN,
    "test_logistic.py::test_l1_ratio_non_elasticnet": _OWN,
    "test_logistic.py::test_l1_ratio_None_deprecated": _OWN,
    "test_logistic.py::test_penalty_none*": _OWN,
    "test_logistic.py::test_penalty_deprecated*": _OWN,
    "test_logistic.py::test_lr_penalty_l1ratio_incompatible*": _OWN,
    "test_logistic.py::test_logisticregression_warns_with_n_jobs": _OWN,
    "test_sgd.py::test_power_t_limits*": _OWN,
    "test_sgd.py::test_plain_has_no_average_attr*": _STATE,
    # Sparse rows
    "test_logistic.py::test_large_sparse_matrix*": _DENSE,
    "test_base.py::test_raises_value_error_if_positive_and_sparse": _DENSE,
    "test_sgd.py::test_late_onset_averaging_reached*": _DENSE,
    "test_sgd.py::test_sgd_averaged_computed_correctly*Sparse*": _DENSE,
    "test_sgd.py::test_average_sparse*": _DENSE,
    "test_sgd.py::test_sgd_averaged_partial_fit*Sparse*": _DENSE,
    # Iterations and rows
    "test_coordinate_descent.py::test_warm_start_convergence*": _EPOCHS,
    "test_coordinate_descent.py::test_enet_coordinate_descent_raises_convergence*": _PRECISE,
    "test_huber.py::test_huber_warm_start": "the adapter looks for the scale anew; fastgd's own warm start is tested",
    "test_sgd.py::test_adaptive_longer_than_constant*": _EPOCHS,
    "test_sgd.py::test_validation_set_not_used_for_training*": _ROWS,
    "test_sgd.py::test_not_enough_sample_for_early_stopping*": "one row can be held out of two, and is",
    "test_sgd.py::test_sgd_early_stopping_with_partial_fit*": "early stopping hides partial_fit, which sees rows once",
    "test_sgd.py::test_input_format*": "linear regression takes several targets",
    "test_ridge.py::test_n_iter": _EPOCHS,
    "test_ridge.py::test_lbfgs_solver_error": _EPOCHS,
    "test_ridge.py::test_ridge_individual_penalties": _TEXT,
    "test_ridge.py::test_ridge_positive_error_test*": "positive=True does not depend on the names of Ridge's solvers",
    "test_ridge.py::test_ridge_shapes_type": "y of one column gives one row of coef_, as in LinearRegression",
    "test_logistic.py::test_newton_cholesky_fallback_to_lbfgs": _OWN,
    "test_logistic.py::test_warm_start_newton_solver*": (
        "a fit of two epochs uses in the second what its metric has learned in the first, which no other fit knows: so "
        "do fits by scikit-learn's lbfgs, which the test leaves out"
    ),
    "test_logistic.py::test_logistic_cv_multinomial_score*": (
        "compared with scikit-learn's lbfgs at its default tol, which is 3e-4 off; at tol=1e-8 it has fastgd's score"
    ),
    "test_logistic.py::test_logistic_regression_callback_support[0]": "max_iter=0 runs no epoch, and reports none",
    "test_ridge.py::test_ridge_fit_intercept_sparse_error*": _OWN,
    "test_ridge.py::test_ridge_fit_intercept_sparse_sag*": _OWN,
    "test_ridge.py::test_array_api_error_and_warnings_for_solver_parameter*": _OWN,
    "test_sag.py::test_sag_classifier_computed_correctly*": _DENSE,
    "test_sag.py::test_sag_multiclass_computed_correctly*": _DENSE,
    "test_sag.py::test_binary_classifier_class_weight*": _DENSE,
    "test_sag.py::test_step_size_alpha_error": _OWN,
    "test_sag.py::test_sag_classifier_raises_error*": _TEXT,
    "test_sag.py::test_classifier_single_class": _TEXT,
    "test_sparse_coordinate_descent.py::test_sparse_enet_coordinate_descent*": _PRECISE,
    # Shapes and gaps
    "test_common.py::test_linear_model_regressor_coef_shape[2-*": "y of shape (n, 1) gives coef_ of shape (1, d), as "
    "scikit-learn's LinearRegression does",
    "test_coordinate_descent.py::test_lasso_dual_gap": "gaps at the optimum differ by 3e-15, where both are rounding",
    "test_*coordinate_descent.py::test_enet_toy*": "without a penalty there is no duality gap",
    "test_*coordinate_descent.py::test_enet_multitarget*": "the duality gap is one number for all targets",
    # The array API
    "test_base.py::test_array_api_move_estimator_to": "a model fitted in one namespace predicts rows of any other",
}
